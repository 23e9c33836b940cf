//! Promise 17: observable by `tracing`. One test alone in its program: `tracing` decides for the whole process whether
//! an event has a subscriber when the event first happens, in any thread.

mod common;

use std::fmt;
use std::sync::{Arc, Mutex};

use common::{Rig, listener, watchdog};
use dolmen::Token;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata, Subscriber};

/// Keeps the events that it gets.
struct Keeping(Arc<Mutex<Vec<Kept>>>);

#[derive(Clone, Debug)]
struct Kept {
    target: String,
    level: Level,
    text: String,
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0 += &format!("{field}={value:?} ");
    }
}

impl Subscriber for Keeping {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let metadata = event.metadata();
        let kept = Kept { target: metadata.target().to_owned(), level: *metadata.level(), text: text.0 };
        self.0.lock().expect("no panic while it is locked").push(kept);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn p17_what_happens_is_logged_on_target_dolmen() {
    let _watchdog = watchdog();
    let kept = Arc::new(Mutex::new(Vec::new()));
    let _until_the_end = tracing::subscriber::set_default(Keeping(Arc::clone(&kept)));
    let mut rig = Rig::new();
    let token = Token(170_017);
    let id = rig.reactor.listen(listener().0, token).expect("listen");
    let (conn, peer) = rig.connect(token);
    drop(peer);
    rig.ended(conn);
    assert!(rig.reactor.remove_listener(id));
    rig.until_stats("end of the listener", |stats| stats.listeners == 0);

    let kept = kept.lock().expect("no panic while it is locked").clone();
    assert!(kept.iter().all(|kept| kept.target == "dolmen"), "{kept:?}");
    let find = |level: Level, parts: &[&str]| {
        let found = |kept: &&Kept| kept.level == level && parts.iter().all(|part| kept.text.contains(part));
        assert!(kept.iter().any(|kept| found(&kept)), "no {level} {parts:?} in {kept:?}");
    };
    let token = format!("token={}", token.0);
    find(Level::DEBUG, &["listener added", &format!("listener={id} "), &token]);
    find(Level::DEBUG, &["connection added", &format!("conn={conn} "), &token]);
    find(Level::DEBUG, &["connection closed", &format!("conn={conn} "), "reason=closed"]);
    find(Level::DEBUG, &["listener removed", &format!("listener={id} ")]);
    find(Level::TRACE, &["wait", "events="]);
    assert!(!kept.iter().any(|kept| kept.level <= Level::WARN), "nothing went wrong: {kept:?}");
}
