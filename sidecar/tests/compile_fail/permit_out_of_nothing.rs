// error[E0451]: field `sealed` of struct `Permit` is private
pub fn permit() -> policy::Permit {
    policy::Permit { sealed: () }
}
