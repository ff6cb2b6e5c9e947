// error[E0599]: no method named `clone` found for struct `Permit`
pub fn twice(permit: policy::Permit) -> [policy::Permit; 2] {
    [permit.clone(), permit]
}
