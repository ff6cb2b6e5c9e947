// error[E0451]: field `frame` of struct `Cleared` is private
use chaperone_sidecar::cleared::Cleared;
use wire::Frame;

pub fn forward(frame: Frame) -> Cleared<Frame> {
    Cleared { frame }
}
