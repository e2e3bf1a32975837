use tower_health::Check;

struct Ledger;

fn main() {
    let _ = Check::new("number", 42);
    let _ = Check::new("type", Ledger);
    let _ = Check::new("not-async", || Ok::<(), String>(()));
}
