//! The peers, the writer of standard input, and the reactor's other threads.

use super::*;

/// The state that other threads use.
#[derive(Clone)]
pub(super) struct Others {
    pub(super) machine: Machine,
    pub(super) input: SharedInput,
    pub(super) waker: Waker,
    pub(super) wakeup: Arc<AtomicBool>,
    pub(super) poster: Rc<Poster>,
    /// How much each peer has read.
    pub(super) read: Rc<RefCell<Vec<u64>>>,
    pub(super) posts: Rc<RefCell<VecDeque<usize>>>,
    pub(super) posted: Rc<Cell<usize>>,
    pub(super) woken: Rc<Cell<bool>>,
    /// A post has signalled the kernel. The post may be collected before the signal arrives.
    pub(super) signalled: Rc<Cell<bool>>,
    pub(super) interrupted: Rc<Cell<bool>>,
    /// A peer has read bytes that were never sent.
    pub(super) misread: Rc<Cell<Option<usize>>>,
}

impl Others {
    /// For a reactor, by its waker and wake-up flag.
    pub(super) fn new(
        machine: &Machine,
        input: &SharedInput,
        waker: Waker,
        wakeup: Arc<AtomicBool>,
        poster: Rc<Poster>,
    ) -> Others {
        Others {
            machine: machine.clone(),
            input: Rc::clone(input),
            waker,
            wakeup,
            poster,
            read: Rc::default(),
            posts: Rc::default(),
            posted: Rc::default(),
            woken: Rc::default(),
            signalled: Rc::default(),
            interrupted: Rc::default(),
            misread: Rc::default(),
        }
    }

    /// One of the latest links.
    fn link(&self, who: u32) -> Option<usize> {
        let links = self.machine.links();
        let recent = links.min(MOST_OPEN);
        (recent > 0).then(|| links - 1 - who as usize % recent)
    }

    /// The target of an action, chosen when it is planned.
    pub(super) fn aim(&self, action: ExternalAction) -> Option<ExternalAction> {
        // Standard input may be a link, and has a writer of its own.
        let link = |who| self.link(who).filter(|&link| !self.input.borrow().is_link(link));
        let aimed = match action {
            ExternalAction::ConnectTo(who) => {
                let listeners = self.machine.listeners();
                if listeners == 0 {
                    return None;
                }
                ExternalAction::ConnectTo(who % listeners as u32)
            }
            ExternalAction::PeerWrite(who, much) => ExternalAction::PeerWrite(link(who)? as u32, much),
            ExternalAction::PeerRead(who, much) => ExternalAction::PeerRead(link(who)? as u32, much),
            ExternalAction::PeerFinish(who, gone) => ExternalAction::PeerFinish(link(who)? as u32, gone),
            ExternalAction::PeerReset(who, keep) => ExternalAction::PeerReset(link(who)? as u32, keep),
            other => other,
        };
        Some(aimed)
    }

    pub(super) fn perform(&self, aimed: ExternalAction) {
        match aimed {
            ExternalAction::ConnectTo(listener) => self.machine.connect_to(listener as usize, 200),
            ExternalAction::PeerWrite(link, much) => {
                let link = link as usize;
                let count = usize::from(much).min(self.machine.peer_room(link));
                let from = self.machine.link(link).written;
                self.machine.peer_write(link, &stream_bytes(link, false, from, count));
            }
            ExternalAction::PeerRead(link, much) => self.peer_read(link as usize, much.into()),
            ExternalAction::PeerFinish(link, gone) => self.machine.peer_finish(link as usize, gone),
            ExternalAction::PeerReset(link, keep) => self.machine.peer_reset(link as usize, keep),
            ExternalAction::Type(much) => {
                let mut input = self.input.borrow_mut();
                let count = usize::from(much).min(input.room(&self.machine));
                let from = input.written(&self.machine);
                let bytes = stream_bytes(STDIN_STREAM, false, from, count);
                if count > 0 {
                    input.write(&self.machine, &bytes);
                }
            }
            ExternalAction::EndInput => self.input.borrow_mut().end(&self.machine),
            ExternalAction::OtherRecord => self.input.borrow_mut().other_record(&self.machine),
            ExternalAction::Post => {
                let number = self.posted.get();
                let (context, data) = (Context::Post(number).pointer(), number as u64);
                let token = Token(context.expose_provenance());
                if self.poster.post(data, token).is_ok() {
                    self.posts.borrow_mut().push_back(number);
                    self.posted.set(number + 1);
                    self.signalled.set(true);
                }
            }
            ExternalAction::Wakeup => {
                self.woken.set(true);
                self.wakeup.store(true, Ordering::Release);
                self.waker.wake();
            }
            ExternalAction::Interrupt => {
                self.interrupted.set(true);
                self.machine.interrupt();
            }
        }
    }

    pub(super) fn peer_read(&self, link: usize, most: usize) {
        let bytes = self.machine.peer_read(link, most);
        let mut read = self.read.borrow_mut();
        if read.len() <= link {
            read.resize(link + 1, 0);
        }
        let from = read[link];
        read[link] += bytes.len() as u64;
        if bytes != stream_bytes(link, true, from, bytes.len()) {
            self.misread.set(Some(link));
        }
    }
}
