//! Forwarding without a decision does not compile.

#[test]
fn forging_a_clearance_or_a_permit_or_spending_one_twice_does_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/compile_fail/*.rs");
}
