//! The socket of a connection, which records its [`Activity`].
//!
//! hyper does not report what a client does between two requests, or that it does not read. This
//! wrapper sees every byte, and so does not depend on the version of HTTP.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::activity::Activity;

/// The preface of an HTTP/2 connection.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection that records what its client sends and reads.
#[derive(Debug)]
pub(super) struct Watched {
    stream: TcpStream,
    activity: Arc<Activity>,
    /// How many bytes of the preface were read. `None` once all of it was read, or once something
    /// else was.
    preface: Option<usize>,
    /// Whether the client has closed its sending side.
    is_over: bool,
}

impl Watched {
    /// Wraps a socket. `activity` is that of its connection.
    pub(super) fn new(stream: TcpStream, activity: &Arc<Activity>) -> Self {
        Self {
            stream,
            activity: Arc::clone(activity),
            preface: Some(0),
            is_over: false,
        }
    }

    /// Records bytes that the client sent. A preface may arrive in several parts, so this compares
    /// them one after the other.
    fn note_read(&mut self, bytes: &[u8]) {
        let Some(seen) = self.preface else {
            return self.activity.read();
        };
        let expected = PREFACE.get(seen..).unwrap_or_default();
        let length = expected.len().min(bytes.len());
        let is_preface = expected.get(..length) == bytes.get(..length);
        match is_preface {
            true if length == expected.len() => {
                self.preface = None;
                self.activity.speak_http2();
            }
            true => {
                self.preface = Some(seen + length);
                self.activity.read();
            }
            false => {
                self.preface = None;
                self.activity.read();
            }
        }
    }

    /// Records whether the client reads. A pending write is one that it does not read.
    fn note_written(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Pending => self.activity.block(),
            Poll::Ready(_) => self.activity.unblock(),
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let (before, has_room) = (buf.filled().len(), buf.remaining() > 0);
        if !this.is_over {
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
            match buf.filled().get(before..) {
                Some(read) if !read.is_empty() => this.note_read(read),
                _ => this.is_over = has_room,
            }
        }
        // hyper drops its response once it sees the end of the input. No waker is needed, because
        // the task of the connection ends the connection once the response is complete.
        if this.is_over && this.activity.half_close() {
            Poll::Pending
        } else {
            Poll::Ready(Ok(()))
        }
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.note_written(&written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.note_written(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
