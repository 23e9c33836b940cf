//! tokio, on its current-thread runtime: one task for each connection.

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

#[cfg(target_os = "linux")]
pub fn wake(start: super::StartPosts<'_>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(deliver(start));
    Ok(())
}

/// Posts over a `Notify`, which is independent of the runtime: compio's and monoio's loops use it as well.
#[cfg(target_os = "linux")]
pub async fn deliver(start: super::StartPosts<'_>) {
    let bell = std::sync::Arc::new(tokio::sync::Notify::new());
    let rung = std::sync::Arc::clone(&bell);
    let mut posts = start(Box::new(move || rung.notify_one()));
    loop {
        bell.notified().await;
        posts.delivered();
    }
}

/// A task for each timer.
#[cfg(target_os = "linux")]
pub fn timers(timers: super::Timers) -> io::Result<()> {
    use std::time::Instant;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let count = timers.count;
    let timers = Rc::new(RefCell::new(timers));
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        for _ in 0..count {
            let timers = Rc::clone(&timers);
            tokio::task::spawn_local(async move {
                loop {
                    let delay = timers.borrow_mut().delay();
                    let due = Instant::now() + delay;
                    tokio::time::sleep(delay).await;
                    timers.borrow_mut().fired(due);
                }
            });
        }
        std::future::pending::<()>().await;
    });
    Ok(())
}
