use crate::{
    HealthBuilder,
    check::{Check, HealthCheck, IntoHealthCheck, Policy},
};

impl HealthBuilder {
    /// Something that has to be done once before the service has started: to warm a cache, to migrate a schema. It is the code
    /// of a check, and is named like one. Defaults to none.
    ///
    /// Tasks run side by side, from the [start](Self::start) on, and as long as they take: one that may hang is to limit its own
    /// time. One that fails, or panics, is tried again after 1 s, then 1.5 times as long each time, up to 30 s, jittered: a
    /// failure is never final. Until each was good once, [startup](crate::Probe::Startup) fails and the instance is not ready;
    /// what it waits for, why, and how often that failed is in the report of the task. Once done it is done for good, and
    /// neither [`run_now`](crate::Health::run_now) nor [`replace`](crate::Health::replace) does it again.
    ///
    /// Do not wait for a dependency here that may be down for longer than the orchestrator waits for a start: that is for a
    /// check, which holds traffic back and restarts nothing.
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
