//! The cost of a response over sockets, and the number of check runs that concurrent probes cause,
//! with this crate and with others.

mod crowd;
mod load;
mod peers;

use std::{env, error::Error};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["serve", name, dependency] => load::serve(name, dependency),
        ["load"] => load::compare(),
        ["crowd"] => crowd::compare(),
        _ => Err("usage: load | crowd".into()),
    }
}
