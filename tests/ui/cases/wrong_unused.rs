#![deny(unused_must_use)]

use tower_health::Health;

fn health() -> Health {
    Health::builder("orders").start().unwrap()
}

fn main() {
    health();
}
