//! Counting semaphore on a channel: tokens are put in at one end and taken at the other.

use crossbeam_channel::{Receiver, Sender, unbounded};

/// Owner of the tokens. When it is dropped, waiting threads continue without a token.
#[derive(Debug)]
pub(super) struct Tokens {
    sender: Sender<()>,
    /// Dropped with the owner, so that takers see the end even while tokens are left.
    _open: Sender<()>,
}

/// Takes tokens; clones share them.
#[derive(Clone, Debug)]
pub(super) struct Taker {
    tokens: Receiver<()>,
    /// Disconnected once the owner is dropped.
    closed: Receiver<()>,
}

impl Tokens {
    /// `count` tokens.
    pub(super) fn new(count: usize) -> (Tokens, Taker) {
        let (sender, receiver) = unbounded();
        let (open, closed) = unbounded();
        let tokens = Tokens { sender, _open: open };
        tokens.put(count);
        (tokens, Taker { tokens: receiver, closed })
    }

    /// Puts `count` tokens back.
    pub(super) fn put(&self, count: usize) {
        // Fails if there are no takers any more.
        for _ in 0..count {
            let _ = self.sender.send(());
        }
    }
}

impl Taker {
    /// Waits for a token; `false` once the owner was dropped.
    pub(super) fn take(&self) -> bool {
        if matches!(self.closed.try_recv(), Err(crossbeam_channel::TryRecvError::Disconnected)) {
            return false;
        }
        crossbeam_channel::select! {
            recv(self.tokens) -> token => token.is_ok(),
            recv(self.closed) -> _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn tokens_are_taken_and_put_back() {
        let (tokens, taker) = Tokens::new(2);
        assert!(taker.take() && taker.take() && taker.tokens.is_empty());
        let waiting = thread::spawn({
            let taker = taker.clone();
            move || taker.take()
        });
        tokens.put(1);
        assert!(waiting.join().unwrap());
    }

    #[test]
    fn takers_see_the_end() {
        let (tokens, taker) = Tokens::new(1);
        let waiting = thread::spawn({
            let taker = taker.clone();
            move || (taker.take(), taker.take())
        });
        while !taker.tokens.is_empty() {
            thread::yield_now();
        }
        tokens.put(0);
        drop(tokens);
        assert_eq!(waiting.join().unwrap(), (true, false));
        let (tokens, taker) = Tokens::new(1);
        drop(tokens);
        assert!(!taker.take());
    }
}
