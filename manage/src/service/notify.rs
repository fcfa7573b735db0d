//! What a service tells the service manager (`sd_notify(3)`). Without one, nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{interval, timeout};

/// The service works; `status` says in a few words how, for people.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The configuration is being read again; [`ready`] has to follow.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "the service manager is told nothing"),
    }
}

/// The service ends, and may take this long.
pub fn stopping(within: Duration) {
    let within = within.saturating_add(Duration::from_secs(5));
    let micros = u32::try_from(within.as_micros()).unwrap_or(u32::MAX);
    tell(&[
        NotifyState::Stopping,
        NotifyState::ExtendTimeoutUsec(micros),
    ]);
}

/// Tells the service manager at half the interval it asks for that the service lives, for as long as
/// `is_alive` says so in time. Ends at once where it does not ask.
pub async fn keep_watchdog<F: Future<Output = bool>>(is_alive: impl Fn() -> F) {
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) else {
        return;
    };
    let half = limit / 2;
    let mut ticks = interval(half);
    loop {
        ticks.tick().await;
        match timeout(half, is_alive()).await {
            Ok(true) => tell(&[NotifyState::Watchdog]),
            Ok(false) | Err(_) => {
                tracing::error!(
                    "the node does not answer: the service manager is not told otherwise"
                );
            }
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}
