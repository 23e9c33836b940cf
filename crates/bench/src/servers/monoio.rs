//! monoio: completions over io_uring, a task a connection.

use std::io;
use std::net::TcpListener;

use monoio::io::{AsyncReadRent as _, AsyncWriteRentExt as _};

use super::{BUFFER_BYTES, Mode};

pub fn serve(listener: TcpListener, mode: Mode) -> io::Result<()> {
    if mode == Mode::Broadcast {
        return Err(io::Error::other("no broadcast server for monoio"));
    }
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().build()?;
    runtime.block_on(async move {
        let listener = monoio::net::TcpListener::from_std(listener)?;
        loop {
            let (mut stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            monoio::spawn(async move {
                let mut buffer = Vec::with_capacity(BUFFER_BYTES);
                loop {
                    let (read, received) = stream.read(buffer).await;
                    let Ok(1..) = read else { break };
                    let (written, sent) = stream.write_all(received).await;
                    if written.is_err() {
                        break;
                    }
                    buffer = sent;
                    buffer.clear();
                }
            });
        }
    })
}
