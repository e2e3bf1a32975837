use std::{
    fmt, io,
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
};

use super::aside::Aside;

/// What finds the addresses of a host, as the system does it. That may block for half a minute if the name server is silent.
pub(super) struct Lookup {
    /// The host and its port.
    target: Arc<str>,
    resolver: Aside<io::Result<Vec<SocketAddr>>>,
}

impl Lookup {
    pub(super) fn new(target: impl Into<String>) -> Self {
        let target: Arc<str> = target.into().into();
        let asked = Arc::clone(&target);
        Self {
            target,
            resolver: Aside::new(move || asked.to_socket_addrs().map(Iterator::collect)),
        }
    }

    pub(super) fn target(&self) -> &str {
        &self.target
    }

    /// The addresses; never none.
    pub(super) async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = self.target.parse() {
            return Ok(vec![address]);
        }
        match self.resolver.ask().await? {
            Ok(addresses) if !addresses.is_empty() => Ok(addresses),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Err(error),
            // The system says in words alone what was wrong.
            Err(error) => Err(io::Error::new(io::ErrorKind::HostUnreachable, error)),
            Ok(_) => Err(io::ErrorKind::HostUnreachable.into()),
        }
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}
