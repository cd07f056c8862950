//! What a running server cannot change.

use super::Config;

/// Gives each of these fields its running value and names those that had another.
macro_rules! keep {
    ($wanted:ident, $running:ident, $($flag:literal $($field:ident).+),+ $(,)?) => {{
        let mut kept = Vec::new();
        $(
            if $wanted.$($field).+ != $running.$($field).+ {
                $wanted.$($field).+.clone_from(&$running.$($field).+);
                kept.push($flag);
            }
        )+
        kept
    }};
}

impl Config {
    /// Keeps what sockets and queues were made for, and says what of it was to be something else, as the command line
    /// names it.
    pub(crate) fn keep_fixed(&mut self, running: &Self) -> Vec<&'static str> {
        let kept = keep!(
            self, running,
            "listen" listen,
            "tcp-listen" tcp_listen,
            "max-connections" max_connections,
            "max-per-address" max_per_address,
            "accepts-per-second" accepts_per_second,
            "max-message-bytes" max_message_bytes,
            "closed-connections" closed_connections,
            "queue-bytes" queue_bytes,
            "queue-messages" queue_messages,
            "queue-total-bytes" queue_total_bytes,
            "write-deadline" write_deadline,
            "linger" linger,
            "protocol" protocol,
            "router" router,
        );
        #[cfg(feature = "scheduling")]
        let kept = [kept, keep!(self, running, "scheduling" scheduling)].concat();
        #[cfg(feature = "admin")]
        let kept = [kept, keep!(self, running, "admin-listen" admin.listen)].concat();
        kept
    }
}
