use tower_health::Check;

fn main() {
    let _ = Check::new("rows", || async { Ok::<u64, String>(1) });
}
