//! When something runs out.

use std::{
    array,
    collections::VecDeque,
    iter::successors,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::model::{Outcome, Reason};

/// Foresees when a value that rises meets its bound, from what the last runs of a check measured.
///
/// 1. Each run gives its value and the bound to [`observe`](Self::observe), once.
/// 2. The forecast looks ahead for its horizon, and back for a quarter of that, or for eight runs if that is longer.
/// 3. It predicts only what rises for certain: neither noise nor a single step. A rise is believed for five times as long as it has lasted.
/// 4. A prediction [is near](Prediction::is_near) once three runs in a row put the bound within the horizon.
/// 5. A value below all those that it remembers begins a new series: somebody cleaned up.
///
/// A slow oscillation counts as a rise while its slope would reach the bound within the horizon.
///
/// It remembers 129 means at most, however short the period is. Time is [`tokio::time`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use std::time::Duration;
///
/// use tower_health::{Reason, checks::Forecast};
///
/// // Warns an hour before the disk is full.
/// let forecast = Forecast::new(Duration::from_secs(60 * 60));
/// let mut prediction = Default::default();
/// for used in 900..960 {
///     prediction = forecast.observe(f64::from(used), 1_000.0);
///     tokio::time::advance(Duration::from_secs(10)).await;
/// }
/// assert!(prediction.is_near());
/// assert_eq!(prediction.time_left(), Some(Duration::from_secs(410)));
/// assert_eq!(prediction.outcome().reason(), Some(Reason::LimitNear));
/// # }
/// ```
#[derive(Debug)]
pub struct Forecast {
    horizon: Duration,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    trend: Trend,
    /// How many runs in a row put the bound within the horizon.
    near: u32,
}

/// How many runs in a row have to agree.
const AGREEING: u32 = 3;

impl Forecast {
    /// A forecast with this horizon. A horizon of zero disables it.
    pub fn new(horizon: Duration) -> Self {
        let seen = Seen {
            trend: Trend::new(horizon),
            near: 0,
        };
        Self {
            horizon,
            seen: Mutex::new(seen),
        }
    }

    /// Takes the value that this run measured, and predicts when it meets `bound`, which has the same unit. A value or a bound that is
    /// not finite predicts nothing, and is not remembered.
    pub fn observe(&self, value: f64, bound: f64) -> Prediction {
        if self.horizon.is_zero() || !value.is_finite() || !bound.is_finite() {
            return Prediction::default();
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.trend.add(Instant::now(), value);
        let time_left = seen.trend.time_to(bound);
        seen.near = match time_left {
            Some(left) if left <= self.horizon => seen.near.saturating_add(1),
            _ => 0,
        };
        Prediction {
            time_left,
            is_near: seen.near >= AGREEING,
        }
    }
}

/// When a value meets its bound: what [`Forecast::observe`] predicts. The default predicts nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "a prediction says nothing until its outcome is returned"]
pub struct Prediction {
    time_left: Option<Duration>,
    is_near: bool,
}

impl Prediction {
    /// The time until the bound is met, where the value rises for certain; zero if it is met already.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        self.time_left
    }

    /// Whether three runs in a row put the bound within the horizon.
    #[must_use]
    pub fn is_near(&self) -> bool {
        self.is_near
    }

    /// What two predictions say together, for a check that has two bounds: the shorter time, and near if either is.
    pub fn or(self, other: Self) -> Self {
        Self {
            time_left: self.time_left.into_iter().chain(other.time_left).min(),
            is_near: self.is_near || other.is_near,
        }
    }

    /// A warning, [`LimitNear`](Reason::LimitNear), if it is near; else a pass. Either has the measurement `time_left`, in s, where
    /// the time is known.
    pub fn outcome(self) -> Outcome {
        let Some(left) = self.time_left else {
            return Outcome::pass();
        };
        let outcome = if self.is_near() {
            Outcome::warn(Reason::LimitNear)
                .with_cause(format_args!("the bound is met in {} s", left.as_secs()))
        } else {
            Outcome::pass()
        };
        outcome.measure("time_left", left.as_secs_f64().round(), "s")
    }
}

/// How fast a value rises, by what the last runs saw.
///
/// 1. It looks ahead for a horizon, and back for a quarter of that, or for [`FEWEST`] runs if that is longer. Of each [`MOST`]th of what
///    it looks back for it keeps the mean.
/// 2. It judges all of that, then ever shorter ends of it, each three quarters of the one before, down to [`FEWEST`] means: what begins to
///    rise after hours of rest is seen before those are forgotten. The longest end that is a rise tells the rate.
/// 3. An end is cut into [`FEWEST`] blocks. It is a rise if the last block is above the first by [`CERTAIN`] times the error that the
///    steps from block to block have. Neither noise nor a single step is a rise, and what wanders seldom is one: its steps are unequal.
/// 4. A rise tells of no more than [`REACH`] times the time that it has lasted: a fifth of what is left has been seen to fill.
/// 5. A value below all others begins anew: somebody cleaned up.
///
/// What swings rises too. One whose rise would meet the bound if it went on is told of, for what is to come cannot be seen in it.
#[derive(Debug)]
struct Trend {
    window: Duration,
    /// One more than [`MOST`] at most.
    means: VecDeque<Mean>,
}

const FEWEST: usize = 8;
const MOST: u32 = 128;
const CERTAIN: f64 = 6.0;
const REACH: f64 = 5.0;

impl Trend {
    fn new(horizon: Duration) -> Self {
        Self {
            window: horizon / 4,
            means: VecDeque::new(),
        }
    }

    fn add(&mut self, at: Instant, value: f64) {
        if self.means.iter().all(|mean| value < mean.lowest) {
            self.means.clear();
        }
        match self.means.back_mut() {
            Some(last) if at.duration_since(last.began) <= self.window / MOST => {
                last.add(at, value);
            }
            _ => self.means.push_back(Mean::new(at, value)),
        }
        let is_old = |mean: &Mean| at.duration_since(mean.began) > self.window;
        while self.means.len() > FEWEST && self.means.front().is_some_and(is_old) {
            self.means.pop_front();
        }
    }

    /// The time until the value rises to the bound: none if it does not or that is out of reach, zero if it is not below that.
    fn time_to(&self, bound: f64) -> Option<Duration> {
        let last = self.means.back()?.last;
        if last >= bound {
            return Some(Duration::ZERO);
        }
        let left = self.rises().find_map(|rise| {
            let left = (bound - last) / rise.rate;
            (left <= REACH * rise.lasted).then_some(left)
        });
        Duration::try_from_secs_f64(left?).ok()
    }

    /// Those ends that rise, the longest first.
    fn rises(&self) -> impl Iterator<Item = Rise> {
        let shorter = |&size: &usize| (size > FEWEST).then(|| (size * 3 / 4).max(FEWEST));
        successors(Some(self.means.len()), shorter).filter_map(|size| self.rise(size))
    }

    fn rise(&self, size: usize) -> Option<Rise> {
        let skipped = self.means.len().checked_sub(size.max(FEWEST))?;
        let origin = self.means.back()?;
        let start = |block: usize| skipped + block * size / FEWEST;
        let blocks = array::from_fn(|block| {
            let means = self.means.range(start(block)..start(block + 1));
            Point::amid(means.map(|mean| mean.seen_from(origin)))
        });
        Rise::through(blocks)
    }
}

/// What the runs of a while saw.
#[derive(Debug)]
struct Mean {
    began: Instant,
    count: f64,
    /// In the mean, in s since it began.
    at: f64,
    value: f64,
    lowest: f64,
    last: f64,
}

impl Mean {
    fn new(at: Instant, value: f64) -> Self {
        Self {
            began: at,
            count: 1.0,
            at: 0.0,
            value,
            lowest: value,
            last: value,
        }
    }

    fn add(&mut self, at: Instant, value: f64) {
        let at = at.duration_since(self.began).as_secs_f64();
        self.count += 1.0;
        self.at += (at - self.at) / self.count;
        self.value += (value - self.value) / self.count;
        self.lowest = self.lowest.min(value);
        self.last = value;
    }

    /// From nearby, which keeps the digits of big numbers.
    fn seen_from(&self, origin: &Self) -> Point {
        let before = origin.began.duration_since(self.began).as_secs_f64();
        Point {
            at: self.at - before,
            value: self.value - origin.value,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Point {
    /// In s.
    at: f64,
    value: f64,
}

impl Point {
    fn amid(points: impl ExactSizeIterator<Item = Self>) -> Self {
        let count = points.len() as f64;
        let (at, value) = points.fold((0.0, 0.0), |(at, value), point| {
            (at + point.at, value + point.value)
        });
        Self {
            at: at / count,
            value: value / count,
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            at: self.at - other.at,
            value: self.value - other.value,
        }
    }
}

/// How much more there is each second, and for how many that is known.
struct Rise {
    rate: f64,
    lasted: f64,
}

impl Rise {
    /// None of what does not rise for certain.
    fn through(blocks: [Point; FEWEST]) -> Option<Self> {
        let [first, .., last] = blocks;
        let whole = last.minus(first);
        let rate = whole.value / whole.at;
        let steps = blocks.windows(2).filter_map(|pair| match pair {
            [before, after] => Some(after.minus(*before)),
            _ => None,
        });
        let unexplained: f64 = steps
            .map(|step| (step.value - rate * step.at).powi(2))
            .sum();
        // Of the sum of the steps, which is the whole.
        let count = (FEWEST - 1) as f64;
        let error = (unexplained / (count - 1.0) * count).sqrt();
        let is_certain = whole.value > 0.0 && whole.value >= CERTAIN * error;
        (whole.at > 0.0 && is_certain).then_some(Self {
            rate,
            lasted: whole.at,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(60 * 60);
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    #[tokio::test(start_paused = true)]
    async fn what_is_not_finite_is_not_remembered() {
        let forecast = Forecast::new(HOUR);
        let mut prediction = Prediction::default();
        for used in 900..960 {
            let nothing = forecast.observe(f64::NAN, 1_000.0);
            assert_eq!(nothing, Prediction::default());
            let nothing = forecast.observe(f64::from(used), f64::INFINITY);
            assert_eq!(nothing, Prediction::default());
            prediction = forecast.observe(f64::from(used), 1_000.0);
            tokio::time::advance(10 * SECOND).await;
        }
        assert!(prediction.is_near());
    }

    /// A trend of values, `every` apart, looked ahead from for a day.
    fn trend(every: Duration, values: impl IntoIterator<Item = f64>) -> Trend {
        let mut trend = Trend::new(DAY);
        let start = Instant::now();
        for (number, value) in values.into_iter().enumerate() {
            trend.add(start + every * number as u32, value);
            assert!(trend.means.len() <= MOST as usize + 1);
        }
        trend
    }

    #[test]
    fn there_is_no_rate_of_few_runs_or_of_a_short_time() {
        let rising = |count: u32| (0..count).map(f64::from);
        assert_eq!(trend(MINUTE, []).time_to(1.0), None);
        assert_eq!(trend(HOUR, rising(7)).time_to(10.0), None);
        assert!(trend(HOUR, rising(8)).time_to(10.0).is_some());
        // A sixteenth of what it looks back for.
        assert_eq!(trend(10 * SECOND, rising(100)).time_to(200.0), None);
        assert!(trend(10 * SECOND, rising(6 * 23)).time_to(200.0).is_some());
    }

    #[test]
    fn a_rise_tells_of_no_more_than_five_times_what_it_lasted() {
        // From the middle of the first block to that of the last.
        let left = |bound| trend(MINUTE, (0..80).map(f64::from)).time_to(bound);
        assert_eq!(left(79.0 + 340.0).unwrap(), 340 * MINUTE);
        assert_eq!(left(79.0 + 360.0), None);
    }

    #[test]
    fn a_step_is_no_rate() {
        for every in [10 * SECOND, MINUTE, HOUR] {
            for step in 1..100 {
                let values = (0..100).map(|number| if number < step { 50.0 } else { 70.0 });
                assert_eq!(trend(every, values).time_to(100.0), None, "{step}");
            }
        }
    }

    #[test]
    fn what_was_cleaned_up_begins_anew() {
        let before = (0..60).map(|number| 50.0 + f64::from(number) * 0.5);
        let after = |count| (0..count).map(|number| 20.0 + f64::from(number) * 0.25);
        assert_eq!(
            trend(MINUTE, before.clone().chain(after(20))).time_to(100.0),
            None
        );
        let left = trend(MINUTE, before.chain(after(81))).time_to(100.0);
        // From 40 to 100 by a quarter per minute.
        assert_eq!(left.unwrap().as_secs_f64().round(), 240.0 * 60.0);
    }

    #[test]
    fn what_was_cleaned_up_a_little_is_no_false_alarm_and_known_again_in_a_while() {
        let before = (0..120).map(|number| 10.0 + f64::from(number) * 0.5);
        let after = |count| (0..count).map(|number| 50.0 + f64::from(number) * 0.1);
        for count in 1..60 {
            let left = trend(MINUTE, before.clone().chain(after(count))).time_to(100.0);
            assert!(left.is_none_or(|left| left > HOUR), "{left:?}");
        }
        let left = trend(MINUTE, before.chain(after(200))).time_to(100.0);
        assert_eq!(left.unwrap().as_secs_f64().round(), 301.0 * 60.0);
    }

    #[test]
    fn what_is_not_below_its_bound_has_no_time_left() {
        assert_eq!(trend(MINUTE, [5.0]).time_to(5.0), Some(Duration::ZERO));
        assert_eq!(trend(MINUTE, [5.0]).time_to(4.0), Some(Duration::ZERO));
    }

    #[test]
    fn a_clock_that_stands_still_is_no_rate() {
        let values = || (0..1_000).map(f64::from);
        assert_eq!(trend(Duration::ZERO, values()).time_to(1_001.0), None);
        let mut trend = Trend::new(Duration::from_nanos(1));
        let now = Instant::now();
        values().for_each(|value| trend.add(now, value));
        assert_eq!(trend.time_to(1_001.0), None);
        assert_eq!(trend.means.len(), 1);
    }

    /// Numbers by chance, the same each time.
    struct Chance(u64);

    impl Chance {
        /// Below one.
        fn number(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
            self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as f64 / f64::from(1_u32 << 31)
        }

        /// Spread like a bell around zero, by one.
        fn bell(&mut self) -> f64 {
            (0..12).map(|_| self.number()).sum::<f64>() - 6.0
        }
    }

    /// The runs, 10 s apart, that warn of values which meet a bound within a horizon.
    async fn warned(
        horizon: Duration,
        bound: f64,
        values: impl IntoIterator<Item = f64>,
    ) -> Vec<usize> {
        let forecast = Forecast::new(horizon);
        let mut warned = Vec::new();
        for (run, value) in values.into_iter().enumerate() {
            if forecast.observe(value, bound).is_near() {
                warned.push(run);
            }
            tokio::time::advance(10 * SECOND).await;
        }
        warned
    }

    const EIGHT_HOURS: usize = 8 * 60 * 6;
    const SERIES: usize = 8;

    /// How many percent of the runs warn of a bound of 1000 within an hour.
    async fn percent_warned<V: Iterator<Item = f64>>(series: impl Fn(u64) -> V) -> f64 {
        let mut count = 0;
        for seed in 0..SERIES as u64 {
            count += warned(HOUR, 1_000.0, series(seed).take(EIGHT_HOURS))
                .await
                .len();
        }
        count as f64 * 100.0 / (SERIES * EIGHT_HOURS) as f64
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_comes_and_goes_is_seldom_a_false_alarm() {
        // Around 150 by 50, and what is one now is a third in five minutes.
        let queue = |seed| {
            let (mut chance, mut above) = (Chance(seed), 0.0);
            let keeps = (-10.0_f64 / 300.0).exp();
            std::iter::repeat_with(move || {
                above = keeps * above + 50.0 * (1.0 - keeps * keeps).sqrt() * chance.bell();
                (150.0 + above).max(0.0)
            })
        };
        let percent = percent_warned(queue).await;
        assert!(percent <= 0.5, "{percent} %");
    }

    #[tokio::test(start_paused = true)]
    async fn what_wanders_is_seldom_a_false_alarm() {
        for step in [5.0, 15.0, 40.0] {
            // Between 0 and 400.
            let walk = |seed| {
                let (mut chance, mut at) = (Chance(seed), 200.0_f64);
                std::iter::repeat_with(move || {
                    at = (at + step * chance.bell()).abs();
                    at = 400.0 - (400.0 - at).abs();
                    at
                })
            };
            let percent = percent_warned(walk).await;
            assert!(percent <= 1.0, "by {step}: {percent} %");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn noise_alone_is_no_alarm() {
        let noise = |seed| {
            let mut chance = Chance(seed);
            std::iter::repeat_with(move || 500.0 + 100.0 * chance.bell())
        };
        assert_eq!(percent_warned(noise).await, 0.0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_swings_is_told_of_if_its_rise_meets_the_bound_within_the_horizon() {
        // Between 50 and 80, in a day. As straight lines see it, it is 6 h from 95 at least.
        let swing = || {
            (0..2 * 24 * 360).map(|run| {
                let turns = f64::from(run) / (24.0 * 360.0);
                65.0 - 15.0 * (turns * std::f64::consts::TAU).cos()
            })
        };
        let percent = warned(DAY, 95.0, swing()).await.len() as f64 * 100.0 / (2.0 * 24.0 * 360.0);
        assert!(percent > 0.0 && percent < 35.0, "{percent} %");
        assert!(warned(5 * HOUR, 95.0, swing()).await.is_empty());
    }

    /// 500 of 1000 GiB are used, and from a run on each `seconds` one more, with noise. How many minutes passed and were left when it warned.
    async fn warned_of_a_fill(rest: Duration, seconds: f64, noise: f64) -> (f64, f64) {
        let mut chance = Chance(7);
        let full = 450.0 * seconds;
        let values = (0..).map(|run| (f64::from(run) * 10.0 - rest.as_secs_f64()).max(0.0));
        let values = values.take_while(|passed| *passed < full);
        let values = values.map(|passed| 500.0 + passed / seconds + noise * chance.bell());
        let warned = warned(DAY, 950.0, values).await;
        let passed = warned[0] as f64 * 10.0 - rest.as_secs_f64();
        (passed / 60.0, (full - passed) / 60.0)
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_begins_to_fill_is_told_of_well_before_it_is_full() {
        for rest in [Duration::ZERO, 10 * HOUR] {
            for noise in [0.0, 2.0, 10.0] {
                for (seconds, least_left) in [(6.0, 20.0), (12.0, 65.0), (20.0, 115.0)] {
                    let (passed, left) = warned_of_a_fill(rest, seconds, noise).await;
                    assert!((0.0..=35.0).contains(&passed), "{passed}");
                    assert!(left >= least_left, "{left}");
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_begins_to_grow_is_told_of() {
        let mut chance = Chance(3);
        // 200 ± 20 for two hours, then 20 more a minute: full in 40 min.
        let values = (0..960).map(|run| {
            let grown = f64::from((run - 720).max(0)) * 20.0 / 6.0;
            200.0 + grown + 20.0 * chance.bell()
        });
        let first = warned(HOUR, 1_000.0, values).await[0];
        assert!((720..720 + 12 * 6).contains(&first), "{first}");
    }

    #[tokio::test(start_paused = true)]
    async fn it_warns_when_three_runs_in_a_row_foresee_it() {
        let never = Forecast::new(Duration::ZERO);
        assert_eq!(never.observe(10.0, 10.0), Prediction::default());
        let forecast = Forecast::new(MINUTE);
        let mut near = |value| forecast.observe(value, 10.0).is_near();
        let values = [10.0, 10.0, 9.0, 10.0, 10.0, 10.0, 9.0];
        let expected = [false, false, false, false, false, true, false];
        assert_eq!(values.map(&mut near), expected);
    }

    proptest! {
        #[test]
        fn a_steady_rate_gives_the_time(
            start in 0.0..1e13_f64,
            rate in 1e-3..1e9_f64,
            every in 1_u64..3_600,
            part in 0.001..3.5_f64,
        ) {
            let count = (2_000 / every + 9) as u32;
            let rise = |number: u32| rate * (u64::from(number) * every) as f64;
            let trend = trend(Duration::from_secs(every), (0..count).map(|number| start + rise(number)));
            let last = start + rise(count - 1);
            // A rise that gets lost in the digits of a big number is none.
            prop_assume!(rate * every as f64 > start * 1e-9);
            let seconds = part * (u64::from(count) * every) as f64;
            let left = trend.time_to(last + rate * seconds).unwrap().as_secs_f64();
            prop_assert!((left - seconds).abs() <= seconds * 1e-3 + 1e-3, "{} {}", left, seconds);
        }

        #[test]
        fn what_stands_still_or_falls_has_time(
            start in -1e12..1e12_f64,
            fall in prop_oneof![Just(0.0), 0.0..1e6_f64],
            every in 1_u64..3_600,
            count in 0_u32..300,
        ) {
            let values = (0..count).map(|number| start - fall * f64::from(number));
            prop_assert_eq!(trend(Duration::from_secs(every), values).time_to(start + 1.0), None);
        }

        #[test]
        fn what_stays_below_a_fifth_of_the_way_has_time(
            values in proptest::collection::vec(-1.0..1.0_f64, 0..400),
            distance in 11.0..1e6_f64,
        ) {
            prop_assert_eq!(trend(MINUTE, values).time_to(1.0 + distance), None);
        }

        #[test]
        fn noise_hides_no_rate(noise in proptest::collection::vec(-1.0..1.0_f64, 360)) {
            let values = noise.iter().zip(0..).map(|(noise, number)| noise + f64::from(number) / 10.0);
            let left = trend(MINUTE, values).time_to(100.0).unwrap().as_secs_f64();
            let expected = 641.0 * 60.0;
            prop_assert!((left - expected).abs() < expected * 0.25, "{} {}", left, expected);
        }
    }
}
