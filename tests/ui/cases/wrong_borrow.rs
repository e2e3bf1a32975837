use tower_health::Check;

struct Ledger;

impl Ledger {
    async fn ping(&self) -> Result<(), String> {
        Ok(())
    }
}

fn main() {
    let ledger = Ledger;
    let _ = Check::new("ledger", move || async { ledger.ping().await });
}
