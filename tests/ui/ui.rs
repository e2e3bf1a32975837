//! The compiler messages for each wrong form of a check. To accept a change, run in this directory:
//! `TRYBUILD=overwrite cargo test`.
//!
//! The right forms are in `tests/it/forms.rs`, so that the compiler only checks the cases here and
//! builds nothing.

#[test]
fn wrong_forms_of_a_check_have_readable_messages() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("cases/*.rs");
}
