use tower_health::Check;

async fn ping() -> Result<(), String> {
    Err("down".to_owned())
}

fn main() {
    let _ = Check::new("new", || async {
        ping().await;
    });
    let _ = Check::with("with", (), |()| async {
        ping().await;
    });
    let _ = Check::blocking("blocking", || {});
}
