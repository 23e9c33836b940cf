//! tokio, on its current-thread runtime: a task a connection.

use std::cell::RefCell;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::OwnedWriteHalf;

use super::{BUFFER_BYTES, Mode};

pub fn serve(listener: TcpListener, mode: Mode) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let everyone: Rc<RefCell<Vec<OwnedWriteHalf>>> = Rc::default();
        loop {
            let (mut stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            if mode == Mode::Echo {
                tokio::task::spawn_local(async move {
                    let mut buffer = [0; BUFFER_BYTES];
                    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                        if stream.write_all(&buffer[..count]).await.is_err() {
                            break;
                        }
                    }
                });
                continue;
            }
            let (mut read, write) = stream.into_split();
            everyone.borrow_mut().push(write);
            let everyone = Rc::clone(&everyone);
            tokio::task::spawn_local(async move {
                let mut buffer = [0; BUFFER_BYTES];
                while let Ok(count @ 1..) = read.read(&mut buffer).await {
                    for write in everyone.borrow().iter() {
                        // The load generator reads, so there is always room.
                        let _ = write.try_write(&buffer[..count]);
                    }
                }
            });
        }
    })
}
