fn twice(permit: policy::Permit) -> [policy::Permit; 2] {
    [permit.clone(), permit]
}

fn main() {}
