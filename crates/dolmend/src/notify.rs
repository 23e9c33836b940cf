//! What the service manager is told: sd_notify(3). Where there is none, or the system has no such thing, nothing.

#[cfg(unix)]
use sd_notify::NotifyState;

/// The server serves.
pub(crate) fn ready(status: &str) {
    #[cfg(unix)]
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    let _ = status;
}

/// The server reads its configuration again; [`ready`] follows.
pub(crate) fn reloading() {
    #[cfg(unix)]
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "the service manager cannot be told the time"),
    }
}

/// The server ends.
pub(crate) fn stopping(status: &str) {
    #[cfg(unix)]
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
    let _ = status;
}

/// What the server does.
pub(crate) fn status(status: &str) {
    #[cfg(unix)]
    tell(&[NotifyState::Status(status)]);
    let _ = status;
}

#[cfg(unix)]
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}
