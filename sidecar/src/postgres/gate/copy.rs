//! The data of a COPY FROM STDIN: only inside a COPY that was allowed.

use policy::Protocol;
use sql::Effect;
use wire::{Frame, postgres::frontend::Message};

use super::{Gate, Stop};
use crate::{
    cleared::Cleared,
    postgres::relay::{State, queue::Queue},
};

impl Gate<'_> {
    /// CopyData, CopyDone, CopyFail. Stray ones are dropped, as the server would.
    pub(super) async fn copy(&mut self, frame: Frame) -> Result<(), Stop> {
        // A client may send its data without waiting for the server to ask for it.
        let waits = {
            let state = self.shared.lock();
            !state.copy_in && !state.skips && awaits_copy(&state.queue)
        };
        if waits {
            self.flush().await?;
            let decided = |state: &State| state.copy_in || state.skips || !awaits_copy(&state.queue);
            self.shared.until(decided).await;
        }
        if !self.shared.lock().copy_in {
            return Ok(());
        }
        let permit = self.protocol(Protocol::CopyData);
        let permit = match permit {
            Ok(permit) => permit,
            // In the middle of the data there is no ordinary way to refuse: the session ends.
            Err(Stop::Refused(refusal)) => {
                return Err(Stop::End(crate::postgres::relay::End {
                    reason: crate::postgres::EndReason::PolicyChanged,
                    told: Some(*refusal),
                }));
            }
            Err(stop) => return Err(stop),
        };
        if !matches!(Message::decode(&frame), Ok(Message::CopyData(_))) {
            self.shared.lock().copy_in = false;
        }
        self.writer.client(&Cleared::new(permit, frame));
        Ok(())
    }
}

/// Whether a COPY FROM STDIN that was forwarded has not been answered yet.
fn awaits_copy(queue: &Queue) -> bool {
    queue.any_effect(|effect| matches!(effect, Effect::CopyIn))
}
