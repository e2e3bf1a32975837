//! Start-up tasks. A task is a check with a [`Policy`] of its own: it affects startup, has no time
//! limit, takes no permit, and is done after one good run.

use crate::{
    HealthBuilder,
    check::{Check, HealthCheck, IntoHealthCheck, Policy},
};

impl HealthBuilder {
    /// Adds a task that must succeed once before the service counts as started, such as warming a
    /// cache or migrating a schema. `code` is the code of a check, and `name` follows the rules of
    /// a check's name. Defaults to none.
    ///
    /// Tasks run concurrently, from the [start](Self::start) on, and have no timeout. A task that
    /// may hang must limit its own time. A task that fails or panics is retried after 1 s. Each
    /// further delay is 1.5 times as long, up to 30 s, with jitter. A failure is never final. Until
    /// each task has succeeded once, [startup](crate::Probe::Startup) fails and the instance is not
    /// ready. The report of the task contains what it waits for, why, and how often that failed. A
    /// task that has succeeded is done permanently. Neither [`run_now`](crate::Health::run_now) nor
    /// [`replace`](crate::Health::replace) runs it again.
    ///
    /// Do not wait here for a dependency that may be unavailable for longer than the orchestrator
    /// waits for a start. Use a check instead, because a failing check withholds traffic and
    /// restarts nothing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::atomic::{AtomicU32, Ordering};
    /// use tower_health::{Health, Probe};
    ///
    /// static ATTEMPTS: AtomicU32 = AtomicU32::new(0);
    ///
    /// let health = Health::builder("orders")
    ///     .startup_task("warm-cache", || async {
    ///         match ATTEMPTS.fetch_add(1, Ordering::Relaxed) {
    ///             0..5 => Err(std::io::Error::other("not yet")),
    ///             _ => Ok(()),
    ///         }
    ///     })
    ///     .start()?;
    /// health.wait_until_good(Probe::Startup).await?;
    /// assert_eq!(ATTEMPTS.load(Ordering::Relaxed), 6);
    /// # Ok(())
    /// # }
    /// ```
    pub fn startup_task<C, M>(self, name: impl Into<String>, code: C) -> Self
    where
        C: IntoHealthCheck<M>,
        C::Check: HealthCheck,
    {
        let mut task = Check::new(name, code);
        task.policy = Policy::task();
        self.check(task)
    }
}
