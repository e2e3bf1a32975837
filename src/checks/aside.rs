use std::{io, sync::Arc, thread};

use tokio::sync::{
    Mutex,
    oneshot::{self, error::TryRecvError},
};

/// Code that blocks its thread, such as the system's resolver and file system, asked on the side.
///
/// It has a thread of its own, and never more than one: neither the process's exit nor tokio's blocking pool waits for it, and runs that are
/// given up while it hangs leave nothing behind that grows. The next run waits for the same answer. One that came while nobody waited is
/// of the past, and not taken: what it tells may be over.
pub(super) struct Aside<T> {
    question: Arc<dyn Fn() -> T + Send + Sync>,
    /// The answer that is still awaited, perhaps by a run after the one that asked.
    asked: Mutex<Option<oneshot::Receiver<T>>>,
}

impl<T: Send + 'static> Aside<T> {
    pub(super) fn new(question: impl Fn() -> T + Send + Sync + 'static) -> Self {
        Self {
            question: Arc::new(question),
            asked: Mutex::default(),
        }
    }

    /// # Errors
    ///
    /// If there is no thread to be had, or the code panicked.
    pub(super) async fn ask(&self) -> io::Result<T> {
        let mut asked = self.asked.lock().await;
        let is_over = |answer: &mut oneshot::Receiver<T>| {
            !matches!(answer.try_recv(), Err(TryRecvError::Empty))
        };
        if asked.as_mut().is_some_and(is_over) {
            *asked = None;
        }
        let answer = match &mut *asked {
            Some(answer) => answer,
            none => none.insert(self.start()?),
        };
        let answer = answer.await;
        *asked = None;
        answer.map_err(|_| io::Error::other("it panicked"))
    }

    fn start(&self) -> io::Result<oneshot::Receiver<T>> {
        let (answer, answered) = oneshot::channel();
        let question = Arc::clone(&self.question);
        thread::Builder::new()
            .name("health-check".to_owned())
            .spawn(move || {
                // Nobody waits for it any more, perhaps.
                _ = answer.send(question());
            })?;
        Ok(answered)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{Future, poll_fn},
        pin::Pin,
        sync::{
            Mutex as StdMutex,
            atomic::{AtomicUsize, Ordering},
            mpsc::channel,
        },
        task::Poll,
        time::{Duration, Instant},
    };

    use super::*;

    async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        poll_fn(|cx| match Pin::new(&mut *future).poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    #[tokio::test]
    async fn what_hangs_is_asked_once_and_answers_who_is_still_there() {
        let (open, gate) = channel::<()>();
        let gate = StdMutex::new(gate);
        let asked = Arc::new(AtomicUsize::new(0));
        let aside = {
            let asked = Arc::clone(&asked);
            Aside::new(move || {
                let number = asked.fetch_add(1, Ordering::SeqCst);
                _ = gate.lock().unwrap().recv();
                number
            })
        };
        for _ in 0..10 {
            let given_up = tokio::time::timeout(Duration::from_millis(5), aside.ask()).await;
            assert!(given_up.is_err());
        }
        let mut waits = Box::pin(aside.ask());
        assert!(poll_once(&mut waits).await.is_none());
        drop(open);
        assert_eq!(waits.await.unwrap(), 0);
        assert_eq!(aside.ask().await.unwrap(), 1);
    }

    #[tokio::test]
    async fn an_answer_that_came_while_nobody_waited_is_not_taken() {
        let (open, gate) = channel::<()>();
        let gate = StdMutex::new(gate);
        let answered = Arc::new(AtomicUsize::new(0));
        let aside = {
            let answered = Arc::clone(&answered);
            Aside::new(move || {
                _ = gate.lock().unwrap().recv();
                answered.fetch_add(1, Ordering::SeqCst)
            })
        };
        assert!(poll_once(&mut Box::pin(aside.ask())).await.is_none());
        drop(open);
        let began = Instant::now();
        while aside.asked.lock().await.as_ref().unwrap().is_empty() {
            assert!(began.elapsed() < Duration::from_secs(60));
            tokio::task::yield_now().await;
        }
        assert_eq!(aside.ask().await.unwrap(), 1);
    }

    #[tokio::test]
    async fn what_panics_is_an_error_and_asked_anew() {
        let aside: Aside<()> = Aside::new(|| panic!("no luck"));
        assert!(aside.ask().await.is_err());
        assert!(aside.ask().await.is_err());
    }
}
