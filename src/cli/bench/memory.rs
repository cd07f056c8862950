//! What one connection takes, where there are enough of them to tell.

use super::measured::Measured;

/// With fewer connections, what a server grows by is mostly what it needs once.
pub(super) const ENOUGH_CONNECTIONS: usize = 200;

/// Bytes for one connection.
#[derive(Clone, Copy)]
pub(super) struct Memory {
    /// Of the server's resident memory.
    pub(super) resident: f64,
    /// Of the kernel's own.
    pub(super) kernel: Option<f64>,
}

impl Memory {
    /// None where the server's process is not known, or has too few connections.
    pub(super) fn of(run: &Measured) -> Option<Self> {
        let cost = run.server_cost.filter(|_| run.connections >= ENOUGH_CONNECTIONS)?;
        Some(Self { resident: cost.resident_bytes_per_connection, kernel: cost.kernel_bytes_per_connection })
    }
}
