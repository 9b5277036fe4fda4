//! The port: TCP connections, in TLS if there is a certificate.
//!
//! A TLS handshake takes as long as its client likes, so it is held beside the accepting, with a limit; axum only hears
//! of connections that are ready.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;

use super::tls::Certificate;
use crate::clock::Clock;

/// Handshakes that are under way at the same time; more wait in the kernel.
const HANDSHAKES_LIMIT: usize = 1_024;
/// How long a client may take over its handshake, ms.
const HANDSHAKE_LIMIT_MS: i64 = 10_000;
/// How long accepting rests after the system refused, for want of open files, say, ms.
const REFUSED_PAUSE_MS: i64 = 1_000;

/// A port that is listened on.
pub(super) struct Port {
    tcp: TcpListener,
    certificate: Option<Certificate>,
    handshakes: JoinSet<Option<(TlsStream<TcpStream>, SocketAddr)>>,
    /// never jumps
    clock: Clock,
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

impl Connected<IncomingStream<'_, Port>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Port>) -> Self {
        Self(*stream.remote_addr())
    }
}

impl Port {
    pub(super) fn new(tcp: TcpListener, certificate: Option<Certificate>, clock: Clock) -> Self {
        Self { tcp, certificate, handshakes: JoinSet::new(), clock }
    }

    fn shake_hands(&mut self, certificate: &Certificate, stream: TcpStream, peer: SocketAddr) {
        let (acceptor, clock) = (certificate.acceptor(), self.clock.clone());
        self.handshakes.spawn(async move {
            tokio::select! {
                shaken = acceptor.accept(stream) => match shaken {
                    Ok(stream) => Some((stream, peer)),
                    Err(error) => {
                        tracing::debug!(%error, "a TLS handshake failed");
                        None
                    }
                },
                () = clock.sleep_ms(HANDSHAKE_LIMIT_MS) => None,
            }
        });
    }
}

impl Listener for Port {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        loop {
            tokio::select! {
                accepted = self.tcp.accept(), if self.handshakes.len() < HANDSHAKES_LIMIT => {
                    let (stream, peer) = match accepted {
                        Ok(accepted) => accepted,
                        Err(error) if is_of_one_connection(&error) => continue,
                        Err(error) => {
                            tracing::error!(%error, "no connection can be accepted now");
                            self.clock.sleep_ms(REFUSED_PAUSE_MS).await;
                            continue;
                        }
                    };
                    // Acknowledgements are small and awaited: they must not wait for more to send.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "a connection keeps its delay");
                    }
                    match self.certificate.clone() {
                        None => return (Stream::Plain(stream), peer),
                        Some(certificate) => self.shake_hands(&certificate, stream, peer),
                    }
                }
                Some(shaken) = self.handshakes.join_next() => {
                    if let Ok(Some((stream, peer))) = shaken {
                        return (Stream::Tls(Box::new(stream)), peer);
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// A connection, in the clear or in TLS.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Calls the same method of whichever stream it is.
macro_rules! either {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Plain($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Stream::Tls($stream) => {
                let $stream = Pin::new($stream.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_read(context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_shutdown(context))
    }
}
