//! compio: completions, one task for each connection.

use std::cell::RefCell;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;

use compio::BufResult;
use compio::io::{AsyncRead as _, AsyncWriteExt as _};
use compio::net::TcpStream;

use super::{BUFFER_BYTES, Mode};

pub fn serve(listener: TcpListener, mode: Mode) -> io::Result<()> {
    compio::runtime::Runtime::new()?.block_on(async move {
        listener.set_nonblocking(true)?;
        let listener = compio::net::TcpListener::from_std(listener)?;
        let everyone: Rc<RefCell<Vec<TcpStream>>> = Rc::default();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let task = if mode == Mode::Echo {
                compio::runtime::spawn(echo(stream))
            } else {
                everyone.borrow_mut().push(stream.clone());
                compio::runtime::spawn(broadcast(stream, Rc::clone(&everyone)))
            };
            task.detach();
        }
    })
}

async fn echo(mut stream: TcpStream) {
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
}

/// A task for each write. The load generator sends nothing more before all have received it, so no write overtakes
/// another.
async fn broadcast(mut stream: TcpStream, everyone: Rc<RefCell<Vec<TcpStream>>>) {
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    loop {
        let BufResult(read, received) = stream.read(buffer).await;
        let Ok(1..) = read else { break };
        for other in everyone.borrow().iter() {
            let (mut other, bytes) = (other.clone(), received.clone());
            compio::runtime::spawn(async move { other.write_all(bytes).await }).detach();
        }
        buffer = received;
        buffer.clear();
    }
}

#[cfg(target_os = "linux")]
pub fn wake(start: super::StartPosts<'_>) -> io::Result<()> {
    let runtime = compio::runtime::Runtime::new()?;
    runtime.block_on(super::tokio::deliver(start));
    Ok(())
}

/// A task for each timer.
#[cfg(target_os = "linux")]
pub fn timers(timers: super::Timers) -> io::Result<()> {
    use std::time::Instant;
    let runtime = compio::runtime::Runtime::new()?;
    let count = timers.count;
    let timers = Rc::new(RefCell::new(timers));
    runtime.block_on(async move {
        for _ in 0..count {
            let timers = Rc::clone(&timers);
            let task = async move {
                loop {
                    let delay = timers.borrow_mut().delay();
                    let due = Instant::now() + delay;
                    compio::time::sleep(delay).await;
                    timers.borrow_mut().fired(due);
                }
            };
            compio::runtime::spawn(task).detach();
        }
        std::future::pending::<()>().await;
    });
    Ok(())
}
