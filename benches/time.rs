//! Measures the time of every call. The figures of one run can be compared only with each other.

mod questions;

use criterion::{Criterion, criterion_group, criterion_main};
use questions::ALL;

fn each_question(criterion: &mut Criterion) {
    for question in ALL {
        let mut group = criterion.benchmark_group(question.name);
        for subject in question.subjects {
            let mut call = (subject.set_up)();
            group.bench_function(subject.name, |bencher| bencher.iter(&mut call));
        }
        group.finish();
    }
}

criterion_group!(benches, each_question);
criterion_main!(benches);
