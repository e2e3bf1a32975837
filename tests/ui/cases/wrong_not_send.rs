use std::rc::Rc;

use tower_health::Check;

async fn ping() -> Result<(), String> {
    Ok(())
}

fn main() {
    let _ = Check::new("new", || async {
        let held = Rc::new(1);
        let result = ping().await;
        drop(held);
        result
    });
}
