//! compio: completions, a task a connection.

use std::io;
use std::net::TcpListener;

use compio::BufResult;
use compio::io::{AsyncRead as _, AsyncWriteExt as _};

use super::{BUFFER_BYTES, Mode};

pub fn serve(listener: TcpListener, mode: Mode) -> io::Result<()> {
    if mode == Mode::Broadcast {
        return Err(io::Error::other("no broadcast server for compio"));
    }
    compio::runtime::Runtime::new()?.block_on(async move {
        listener.set_nonblocking(true)?;
        let listener = compio::net::TcpListener::from_std(listener)?;
        loop {
            let (mut stream, _) = listener.accept().await?;
            no_delay(&stream);
            compio::runtime::spawn(async move {
                let mut buffer = Vec::with_capacity(BUFFER_BYTES);
                loop {
                    let BufResult(read, mut received) = stream.read(buffer).await;
                    let Ok(count @ 1..) = read else { break };
                    received.truncate(count);
                    let BufResult(written, sent) = stream.write_all(received).await;
                    if written.is_err() {
                        break;
                    }
                    buffer = sent;
                    buffer.clear();
                }
            })
            .detach();
        }
    })
}

fn no_delay(stream: &compio::net::TcpStream) {
    use std::os::fd::{AsRawFd as _, BorrowedFd};
    // SAFETY: the stream is open for the length of the call.
    let fd = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) };
    let _ = socket2::SockRef::from(&fd).set_tcp_nodelay(true);
}
