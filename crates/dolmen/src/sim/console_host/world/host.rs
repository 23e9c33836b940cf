//! The console as the reader uses it. Each call that blocks takes turns of the world.

use super::*;

impl Host for Rc<World> {
    fn read_line(&self, buffer: &mut [u16], kept: usize) -> io::Result<Option<usize>> {
        self.check_resumed(&buffer[..kept]);
        self.be_interrupted();
        self.console.borrow_mut().start_read(&buffer[..kept], buffer.len(), 1 << WAKE);
        loop {
            if self.has_failed() {
                return Err(io::ErrorKind::Other.into());
            }
            let ended = self.console.borrow_mut().take_ended();
            if let Some(ended) = ended {
                self.check_witness();
                self.note_end(&ended);
                self.be_interrupted();
                return Ok(match ended {
                    Ended::Interrupted => None,
                    Ended::Text(text) => {
                        buffer[..text.len()].copy_from_slice(&text);
                        Some(text.len())
                    }
                });
            }
            self.turn();
        }
    }

    fn set_mode(&self, mode: ConsoleMode, echo: bool) -> io::Result<()> {
        self.be_interrupted();
        let mut console = self.console.borrow_mut();
        (console.line_mode, console.echo) = (mode == ConsoleMode::Line, echo);
        drop(console);
        let mut state = self.state.borrow_mut();
        let was_on = std::mem::replace(&mut state.echo, echo);
        let lines = &mut state.lines;
        lines.echo_on |= echo && !was_on;
        if mode == ConsoleMode::Raw {
            // The line in progress becomes raw input.
            let so_far = lines.so_far.take().unwrap_or_default();
            let mut possible = std::mem::replace(&mut lines.beginnings, vec![Vec::new()]);
            possible.iter_mut().for_each(|start| start.extend(&so_far));
            if possible.iter().any(|start| !start.is_empty()) {
                mark(Mark::LineBecameBytes);
            }
            if lines.may_discard > 0 {
                possible.push(Vec::new());
            }
            let bytes = std::mem::take(&mut lines.bytes);
            let joined =
                |bytes: &String, start: &Vec<u16>| format!("{bytes}{}", String::from_utf16_lossy(start));
            lines.bytes = bytes
                .iter()
                .flat_map(|bytes| possible.iter().map(move |start| joined(bytes, start)))
                .collect();
        }
        Ok(())
    }

    fn write(&self, text: &str) -> io::Result<()> {
        self.be_interrupted();
        while self.console.borrow().held && !self.has_failed() {
            mark(Mark::WriteHeld);
            self.turn();
        }
        let (first, number) = match (text.strip_prefix('@'), text.strip_prefix('!')) {
            (Some(number), _) => (self.state.borrow_mut().prints.pop_front(), number),
            (_, Some(number)) => (self.state.borrow_mut().answers.pop_front(), number),
            _ => return Ok(()),
        };
        if first.is_none_or(|(first, _)| first.to_string() != number) {
            self.fail(Oracle::Order, format!("print {number} where {first:?} is the next"));
        }
        Ok(())
    }

    fn erase_back(&self, _cells: usize) -> io::Result<()> {
        self.be_interrupted();
        Ok(())
    }

    fn is_at_line_start(&self) -> bool {
        true
    }

    fn window_size(&self) -> Option<(u16, u16)> {
        None
    }
}
