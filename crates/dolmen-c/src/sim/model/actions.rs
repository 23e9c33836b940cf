//! The actions that need an object of the program's: it is looked up, and nothing happens if there is none.

use super::*;

impl<P: System> Run<'_, P> {
    pub(super) fn connect(&mut self) {
        if self.open.len() < MOST_OPEN {
            let fd = self.machine.connect(32 + self.rng.below(200) as usize);
            self.open.push(fd);
        }
    }

    pub(super) fn listen(&mut self) {
        if self.machine.listeners() < MOST_LISTENERS && self.open.len() < MOST_OPEN {
            let fd = self.machine.listen();
            self.open.push(fd);
        }
    }

    pub(super) fn duplicate(&mut self, who: u32) {
        // The numbers of sockets have no meaning on Windows.
        if P::COMPLETION || self.open.len() >= MOST_OPEN {
            return;
        }
        if let Some(fd) = self.socket(who) {
            let fd = self.machine.duplicate(fd);
            self.open.push(fd);
        }
    }

    pub(super) fn add_some(&mut self, who: u32, events: c_int) -> Check {
        self.socket(who).map_or(Ok(()), |fd| self.add(fd, events))
    }

    pub(super) fn close_some(&mut self, who: u32) -> Check {
        self.socket(who).map_or(Ok(()), |fd| self.close(fd))
    }

    pub(super) fn close_registered(&mut self, who: u32) {
        if let Some(fd) = self.socket(who) {
            self.close_number(fd);
        }
    }

    pub(super) fn post_read_some(&mut self, who: u32, len: usize) -> Check {
        self.socket(who).map_or(Ok(()), |fd| self.post_read(fd, len))
    }

    pub(super) fn post_write_some(&mut self, who: u32, len: usize) -> Check {
        self.socket(who).map_or(Ok(()), |fd| self.post_write(fd, len))
    }

    pub(super) fn receive_some(&mut self, who: u32, most: usize) -> Check {
        match self.connected(who) {
            Some((_, link)) if !P::COMPLETION => self.receive(link, most),
            _ => Ok(()),
        }
    }

    pub(super) fn send_some(&mut self, who: u32, much: usize) {
        if let Some((_, link)) = self.connected(who) {
            self.send(link, much);
        }
    }

    pub(super) fn shut_down(&mut self, who: u32) {
        if let Some((_, link)) = self.connected(who) {
            self.machine.shut_down(link);
        }
    }

    pub(super) fn accept_some(&mut self, who: u32) {
        let object = self.socket(who).and_then(|fd| self.machine.object(fd));
        if let Some(Object::Listener(listener)) = object {
            self.accept(listener);
        }
    }

    pub(super) fn external(&mut self, action: ExternalAction) {
        if let Some(action) = self.others.aim(action) {
            self.others.perform(action);
        }
    }

    pub(super) fn later(&mut self, after_ns: u64, action: ExternalAction) {
        if let Some(action) = self.others.aim(action) {
            let others = self.others.clone();
            self.machine.schedule(after_ns, move || others.perform(action));
        }
    }
}
