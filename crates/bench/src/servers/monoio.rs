//! monoio: completions over io_uring, one task for each connection.

use std::cell::RefCell;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;

use monoio::io::{AsyncReadRent as _, AsyncWriteRentExt as _, Splitable as _};
use monoio::net::TcpStream;
use monoio::net::tcp::{TcpOwnedReadHalf, TcpOwnedWriteHalf};

use super::{BUFFER_BYTES, Mode};

pub fn serve(listener: TcpListener, mode: Mode) -> io::Result<()> {
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().build()?;
    runtime.block_on(async move {
        let listener = monoio::net::TcpListener::from_std(listener)?;
        let everyone: Everyone = Rc::default();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            if mode == Mode::Echo {
                monoio::spawn(echo(stream));
            } else {
                let (read, write) = stream.into_split();
                everyone.borrow_mut().push(Rc::new(RefCell::new(write)));
                monoio::spawn(broadcast(read, Rc::clone(&everyone)));
            }
        }
    })
}

type Everyone = Rc<RefCell<Vec<Rc<RefCell<TcpOwnedWriteHalf>>>>>;

async fn echo(mut stream: TcpStream) {
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
}

/// A task for each write. The load generator sends nothing more before all have received it, so each half is free.
#[allow(clippy::await_holding_refcell_ref)]
async fn broadcast(mut stream: TcpOwnedReadHalf, everyone: Everyone) {
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    loop {
        let (read, received) = stream.read(buffer).await;
        let Ok(1..) = read else { break };
        for other in everyone.borrow().iter() {
            let (other, bytes) = (Rc::clone(other), received.clone());
            monoio::spawn(async move {
                if let Ok(mut other) = other.try_borrow_mut() {
                    let _ = other.write_all(bytes).await;
                }
            });
        }
        buffer = received;
        buffer.clear();
    }
}

pub fn wake(start: super::StartPosts<'_>) -> io::Result<()> {
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().build()?;
    runtime.block_on(super::tokio::deliver(start));
    Ok(())
}

/// A task for each timer.
pub fn timers(timers: super::Timers) -> io::Result<()> {
    use std::time::Instant;
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().enable_timer().build()?;
    let count = timers.count;
    let timers = Rc::new(RefCell::new(timers));
    runtime.block_on(async move {
        for _ in 0..count {
            let timers = Rc::clone(&timers);
            let task = async move {
                loop {
                    let delay = timers.borrow_mut().delay();
                    let due = Instant::now() + delay;
                    monoio::time::sleep(delay).await;
                    timers.borrow_mut().fired(due);
                }
            };
            monoio::spawn(task);
        }
        std::future::pending::<()>().await;
    });
    Ok(())
}
