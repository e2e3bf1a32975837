//! What the compiler says to each wrong form of a check. To accept a change: `TRYBUILD=overwrite cargo test --test ui`.

#[test]
fn wrong_forms_of_a_check_have_readable_messages() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/right_*.rs");
    cases.compile_fail("tests/ui/wrong_*.rs");
}
