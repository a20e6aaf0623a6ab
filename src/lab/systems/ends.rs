//! The ends of each queue that is measured, as source and servers see them, and the payloads that tell messages apart.
//!
//! Every payload that there may be is in memory before the run, as a text of the program would be: neither source nor
//! server allocates for it, frees it, or counts its owners. It holds the last bits of the id only; a server knows the
//! rest, since its messages come about in order.

use super::Refusal;
use crate::engine::{Engine, Subscriber};
use crate::error::{PublishError, QueueError};
use crate::lab::load::{End, Next, Server, TICKETS};
use crate::message::Message;
use crate::queue::Delivery;
use crate::ring::{Receiver, Sender, TryRecvError, TrySendError};
use crate::sync::LazyLock;
use bytes::Bytes;

/// The source's end of a channel.
pub(super) trait Outlet: Clone + Send {
    fn offer(&self, id: u64) -> Result<bool, Refusal>;
}

impl Outlet for Sender<u64> {
    #[inline]
    fn offer(&self, id: u64) -> Result<bool, Refusal> {
        match self.try_send(id) {
            Ok(()) => Ok(true),
            Err(TrySendError::Full(_)) => Ok(false),
            Err(TrySendError::Disconnected(_)) => Err(Refusal::Gone),
        }
    }
}

impl Outlet for crossbeam_channel::Sender<u64> {
    #[inline]
    fn offer(&self, id: u64) -> Result<bool, Refusal> {
        match self.try_send(id) {
            Ok(()) => Ok(true),
            Err(crossbeam_channel::TrySendError::Full(_)) => Ok(false),
            Err(crossbeam_channel::TrySendError::Disconnected(_)) => Err(Refusal::Gone),
        }
    }
}

impl End for Receiver<u64> {
    type Taken = u64;
    type Error = QueueError;

    #[inline]
    fn look(&mut self) -> Result<Next<u64>, QueueError> {
        Ok(match self.try_recv() {
            Ok(id) => Next::Message(id),
            Err(TryRecvError::Empty) => Next::Nothing,
            Err(TryRecvError::Disconnected) => Next::Over,
        })
    }

    #[inline]
    fn wait(&mut self) -> Result<Option<u64>, QueueError> {
        Ok(self.recv().ok())
    }

    #[inline]
    fn id(_: &mut Server, taken: &u64) -> u64 {
        *taken
    }

    #[inline]
    fn settle(&mut self, _: u64) -> Result<(), QueueError> {
        Ok(())
    }
}

impl End for crossbeam_channel::Receiver<u64> {
    type Taken = u64;
    type Error = QueueError;

    #[inline]
    fn look(&mut self) -> Result<Next<u64>, QueueError> {
        Ok(match self.try_recv() {
            Ok(id) => Next::Message(id),
            Err(crossbeam_channel::TryRecvError::Empty) => Next::Nothing,
            Err(crossbeam_channel::TryRecvError::Disconnected) => Next::Over,
        })
    }

    #[inline]
    fn wait(&mut self) -> Result<Option<u64>, QueueError> {
        Ok(self.recv().ok())
    }

    #[inline]
    fn id(_: &mut Server, taken: &u64) -> u64 {
        *taken
    }

    #[inline]
    fn settle(&mut self, _: u64) -> Result<(), QueueError> {
        Ok(())
    }
}

impl End for Subscriber {
    type Taken = Delivery;
    type Error = QueueError;

    #[inline]
    fn look(&mut self) -> Result<Next<Delivery>, QueueError> {
        match self.try_recv() {
            Ok(Some(delivery)) => Ok(Next::Message(delivery)),
            Ok(None) => Ok(Next::Nothing),
            Err(QueueError::Closed) => Ok(Next::Over),
            Err(error) => Err(error),
        }
    }

    fn wait(&mut self) -> Result<Option<Delivery>, QueueError> {
        match self.recv() {
            Ok(delivery) => Ok(Some(delivery)),
            Err(QueueError::Closed) => Ok(None),
            Err(error) => Err(error),
        }
    }

    #[inline]
    fn id(server: &mut Server, taken: &Delivery) -> u64 {
        server.whole_id(ticket(taken))
    }

    #[inline]
    fn settle(&mut self, taken: Delivery) -> Result<(), QueueError> {
        taken.ack()
    }
}

/// See the page.
pub(super) static PAYLOADS: LazyLock<Vec<[u8; 8]>> =
    LazyLock::new(|| (0..TICKETS).map(u64::to_le_bytes).collect());
static PAYLOAD_OF_WARM_UP: [u8; 8] = u64::MAX.to_le_bytes();

#[inline]
pub(super) fn message(id: u64) -> Message {
    Message::new(match id {
        u64::MAX => Bytes::from_static(&PAYLOAD_OF_WARM_UP),
        _ => Bytes::from_static(&PAYLOADS[(id % TICKETS) as usize]),
    })
}

/// The last bits of the id; of anything else in the payload, those of the warm-up.
#[inline]
pub(super) fn ticket(delivery: &Delivery) -> u64 {
    <[u8; 8]>::try_from(&delivery.payload()[..]).map_or(u64::MAX, u64::from_le_bytes)
}

#[inline]
pub(super) fn publish(engine: &Engine, topic: &str, message: Message) -> Result<bool, Refusal> {
    match engine.publish(topic, message) {
        Ok(_) => Ok(true),
        Err(PublishError::Full(_)) => Ok(false),
        Err(error) => Err(Refusal::Publish(error)),
    }
}
