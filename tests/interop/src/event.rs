//! What the program says and hears.

use std::io::Write as _;

use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

/// Prints one event.
pub fn say(event: Value) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{event}");
    let _ = stdout.flush();
}

/// Waits for SIGINT or SIGTERM.
pub async fn until_told_to_end() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
