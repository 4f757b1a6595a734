//! Waiting awake for what comes at once.
//!
//! A thread that sleeps until a socket has something is waked through an idle processor, and at
//! one request at a time that takes longer than what is done for it. So a worker whose last waits were
//! short looks a little longer before it sleeps, and offers the processor to others between two
//! looks: when somebody takes it for long, waits are asleep for a while. Linux does the like for
//! virtual processors (`Documentation/virt/kvm/halt-polling.rst`).

use std::future::poll_fn;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::Notify;
use tokio::task::yield_now;

use crate::tasks::polls_of_thread;
use crate::{Clock, Metrics};

/// How long a wait is awake at most: as Linux does for virtual processors (`halt_poll_ns`).
const LIMIT: Duration = Duration::from_micros(200);

/// The same behind a pause, and what is a pause: everything is cold then, and answers take longer.
const LIMIT_BEHIND_PAUSE: Duration = Duration::from_micros(500);

/// Who keeps a processor that was offered for as long as this computes, and is no part of what is
/// waited for. With two processors Linux lets one run for 1.4 ms at least (`sched_base_slice`).
const LOST: Duration = Duration::from_millis(1);

/// For how long no wait is awake after that: twice as long as before if it happens again within
/// the time of the rest before.
const REST: Duration = Duration::from_millis(50);

/// The longest such time.
const REST_MAX: Duration = Duration::from_millis(1600);

/// What ends before this was there when it was waited for, and says nothing of the next.
const AT_ONCE: Duration = Duration::from_micros(4);

/// How often one look polls the task that looks.
const OWN_POLLS: u64 = 2;

/// What keeps the only worker of a runtime awake. Clones are the same.
#[derive(Clone)]
pub struct BusyPoll(Arc<Shared>);

struct Shared {
    clock: Arc<dyn Clock>,
    waits: Mutex<Waits>,
    /// Told when the worker has slept and its next wait is expected to be short.
    expected: Notify,
    seconds: Counter<f64, AtomicU64>,
}

impl BusyPoll {
    /// One that measures by `clock` and counts in `metrics`:
    /// `strait_runtime_busy_poll_seconds_total`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, metrics: &Metrics) -> Self {
        let seconds = Counter::default();
        metrics.register(
            "strait_runtime_busy_poll_seconds",
            "Time waited awake for what comes at once, with the processor offered to others",
            seconds.clone(),
        );
        let (waits, expected) = (Mutex::default(), Notify::new());
        Self(Arc::new(Shared { clock, waits, expected, seconds }))
    }

    /// Whether this process may, which has the time of `given` processors
    /// ([`available_parallelism`](std::thread::available_parallelism)): not under a quota of that
    /// time (cgroup's `cpu.max`), which waiting would take from working; nor on one processor,
    /// where a quota is not told from none.
    #[must_use]
    pub fn is_affordable(given: usize) -> bool {
        let allowed = rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count());
        usize::try_from(allowed).is_ok_and(|allowed| is_affordable(allowed, given))
    }

    /// The worker goes to sleep.
    pub(crate) fn before_sleep(&self) {
        self.0.waits.lock().begin(self.0.clock.monotonic());
    }

    /// The worker has slept.
    pub(crate) fn after_sleep(&self) {
        let mut waits = self.0.waits.lock();
        let now = self.0.clock.monotonic();
        waits.end(now);
        if waits.next_is_awake(now) {
            self.0.expected.notify_one();
        }
    }

    /// Keeps the worker awake whenever a short wait is expected, for ever. To be run as a task of
    /// that worker.
    pub async fn run(self) {
        loop {
            self.0.expected.notified().await;
            self.keep_awake().await;
        }
    }

    /// Looks for something to do until a wait gets long, or the next is expected to be.
    async fn keep_awake(&self) {
        let shared = &*self.0;
        let mut time = shared.clock.monotonic();
        loop {
            let polls = polls_of_thread();
            // What came to sockets and timers first, then whatever that made ready.
            yield_now().await;
            end_of_queue().await;
            let mut waits = shared.waits.lock();
            if polls_of_thread().wrapping_sub(polls) > OWN_POLLS {
                if let Some(awake) = waits.end(time) {
                    shared.seconds.inc_by(awake.as_secs_f64());
                }
                if !waits.next_is_awake(time) {
                    return;
                }
                time = shared.clock.monotonic();
            } else {
                let now = shared.clock.monotonic();
                let awake = now.saturating_sub(waits.begin(time));
                if awake >= waits.limit() {
                    shared.seconds.inc_by(awake.as_secs_f64());
                    return;
                }
                drop(waits);
                std::thread::yield_now();
                time = shared.clock.monotonic();
                shared.waits.lock().offered(now, time);
            }
        }
    }
}

/// Whether a process may that runs on `allowed` processors, and has the time of `given` of them,
/// rounded down, but one at least.
const fn is_affordable(allowed: usize, given: usize) -> bool {
    allowed > 1 && allowed <= given
}

/// The worker's waits for something to do.
#[derive(Default)]
struct Waits {
    /// Which of the last were within their limit, one bit each: of those behind a pause, and of
    /// the others. A request on a quiet connection is waited for long, and what answers it is not.
    behind_pause: u32,
    behind_work: u32,
    /// Whether the last was a pause.
    paused: bool,
    /// When the one began that is going on.
    begun: Option<Duration>,
    /// Until when none is awake, and for how long that was when it was said.
    rest_until: Duration,
    rest: Duration,
}

impl Waits {
    /// There is nothing to do. Returns since when.
    fn begin(&mut self, now: Duration) -> Duration {
        *self.begun.get_or_insert(now)
    }

    /// There is something to do. Returns for how long there was not.
    fn end(&mut self, now: Duration) -> Option<Duration> {
        let waited = now.saturating_sub(self.begun.take()?);
        if waited > AT_ONCE {
            let short = u32::from(waited <= self.limit());
            let last = if self.paused { &mut self.behind_pause } else { &mut self.behind_work };
            *last = *last << 1 | short;
            self.paused = waited > LIMIT_BEHIND_PAUSE;
        }
        Some(waited)
    }

    /// The processor was offered to others, who had it from `since` to `now`. Beside one that
    /// computes, waiting awake uses up this process's share, and its work has to wait for a turn.
    fn offered(&mut self, since: Duration, now: Duration) {
        if now.saturating_sub(since) >= LOST {
            let again = since < self.rest_until + self.rest;
            self.rest = if again { REST_MAX.min(self.rest * 2) } else { REST };
            self.rest_until = now + self.rest;
        }
    }

    /// How long the wait that goes on, or comes next, may be awake.
    const fn limit(&self) -> Duration {
        if self.paused { LIMIT_BEHIND_PAUSE } else { LIMIT }
    }

    /// Three of four of the last were short: for three waits that are made shorter one at most is
    /// awake in vain. Among many connections half of them are long.
    fn next_is_awake(&self, now: Duration) -> bool {
        let last = if self.paused { self.behind_pause } else { self.behind_work };
        last.count_ones() >= u32::BITS / 4 * 3 && now >= self.rest_until
    }
}

/// Waits until everything has run that the worker knows to be ready now.
async fn end_of_queue() {
    let mut asked = false;
    poll_fn(|context| {
        if mem::replace(&mut asked, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures_util::FutureExt as _;
    use jiff::Timestamp;

    use super::*;
    use crate::{TaskSet, build_runtime};

    const fn us(count: u64) -> Duration {
        Duration::from_micros(count)
    }

    /// Goes on by this many microseconds whenever it is read.
    #[derive(Debug)]
    struct Stepping(u64, AtomicU64);

    impl Clock for Stepping {
        fn now(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH
        }

        fn monotonic(&self) -> Duration {
            us(self.1.fetch_add(self.0, Ordering::Relaxed))
        }
    }

    fn stepping(step: u64) -> (BusyPoll, TaskSet) {
        let metrics = Metrics::new();
        let clock = Arc::new(Stepping(step, AtomicU64::new(0)));
        (BusyPoll::new(clock, &metrics), TaskSet::new(&metrics))
    }

    /// Waits of these lengths, one after the other; returns when the last ended.
    fn wait(waits: &mut Waits, lengths: &[u64], mut now: Duration) -> Duration {
        for &length in lengths {
            waits.begin(now);
            assert_eq!(waits.begin(now + us(1)), now, "it began before");
            now += us(length);
            assert_eq!(waits.end(now), Some(us(length)));
            assert_eq!(waits.end(now), None, "it is over");
        }
        now
    }

    #[test]
    fn a_wait_is_awake_when_three_of_four_were_short() {
        /// A name, waits of how many microseconds and how often they come, and what follows.
        type Row = (&'static str, &'static [(&'static [u64], usize)], bool);
        let rows: [Row; 11] = [
            ("nothing is known", &[], false),
            ("23 short", &[(&[50], 23)], false),
            ("24 short", &[(&[50], 24)], true),
            ("as long as the limit", &[(&[200], 24)], true),
            ("longer", &[(&[201], 32)], false),
            ("there at once", &[(&[4], 32)], false),
            (
                "nine long behind 32 short, and what was there at once",
                &[(&[50], 32), (&[201], 9), (&[4], 9)],
                false,
            ),
            ("behind a pause, and each answer came", &[(&[2000, 500], 24), (&[2000], 1)], true),
            ("behind the answer comes a pause", &[(&[2000, 500], 24)], false),
            ("answers take longer", &[(&[2000, 501], 32), (&[2000], 1)], false),
            ("behind the first pause", &[(&[50], 32), (&[2000], 1)], false),
        ];
        for (what, waited, expected) in rows {
            let (mut waits, mut now) = (Waits::default(), Duration::ZERO);
            for &(lengths, often) in waited {
                for _ in 0..often {
                    now = wait(&mut waits, lengths, now);
                }
            }
            assert_eq!(waits.next_is_awake(now), expected, "{what}");
        }
    }

    #[test]
    fn who_loses_the_processor_to_others_rests() {
        let mut waits = Waits::default();
        let mut now = wait(&mut waits, &[50; 32], Duration::ZERO);
        waits.offered(now, now + LOST - us(1));
        assert!(waits.next_is_awake(now + LOST), "others worked for a moment");
        let ms = Duration::from_millis;
        // How long behind a rest it is lost again, and how long the next one is.
        for (behind, rest) in [
            (0, 50),
            (49, 100),
            (99, 200),
            (0, 400),
            (0, 800),
            (0, 1600),
            (1599, 1600),
            (1600, 50),
            (50, 50),
        ] {
            now += ms(behind);
            waits.offered(now, now + LOST);
            now += LOST;
            assert!(!waits.next_is_awake(now));
            now += ms(rest);
            assert!(!waits.next_is_awake(now - us(1)), "{behind} {rest}");
            assert!(waits.next_is_awake(now), "{behind} {rest}");
        }
    }

    #[tokio::test]
    async fn a_wait_is_awake_up_to_its_limit_and_counts() {
        for (paused, limit) in [(false, 200), (true, 500)] {
            let (busy_poll, tasks) = stepping(7);
            *busy_poll.0.waits.lock() =
                Waits { behind_pause: 1, behind_work: 1, paused, ..Waits::default() };
            let awake = busy_poll.clone();
            tasks.spawn("awake", async move { awake.keep_awake().await }).await.unwrap();
            let counted = busy_poll.0.seconds.get() * 1e6;
            assert!((f64::from(limit)..=f64::from(limit + 14)).contains(&counted), "{counted}");
            // The worker sleeps behind it: all of that is one wait, and a long one.
            busy_poll.before_sleep();
            busy_poll.after_sleep();
            let waits = busy_poll.0.waits.lock();
            let expected = if paused { (2, 1) } else { (1, 2) };
            assert_eq!((waits.behind_pause, waits.behind_work), expected);
        }
    }

    #[tokio::test]
    async fn a_wait_that_loses_the_processor_is_the_last_for_a_while() {
        for (step, rests) in [(999, false), (1000, true)] {
            let (busy_poll, tasks) = stepping(step);
            *busy_poll.0.waits.lock() =
                Waits { behind_pause: u32::MAX, paused: true, ..Waits::default() };
            let (awake, began) = (busy_poll.clone(), busy_poll.0.clock.monotonic());
            // The step between two looks is as long as the offer: others took all of it.
            busy_poll.0.waits.lock().begin(began + us(2 * step));
            tasks.spawn("awake", async move { awake.keep_awake().await }).await.unwrap();
            let waits = busy_poll.0.waits.lock();
            assert_eq!(waits.next_is_awake(busy_poll.0.clock.monotonic()), !rests, "{step}");
        }
    }

    #[tokio::test]
    async fn only_an_expected_wait_wakes_what_keeps_awake() {
        for (behind_work, expected) in [(0, false), (u32::MAX, true)] {
            let (busy_poll, _tasks) = stepping(10);
            busy_poll.0.waits.lock().behind_work = behind_work;
            busy_poll.before_sleep();
            busy_poll.after_sleep();
            let told = busy_poll.0.expected.notified().now_or_never();
            assert_eq!(told.is_some(), expected);
        }
    }

    #[test]
    fn it_takes_two_processors_and_all_of_their_time() {
        let rows = [(1, 1, false), (2, 1, false), (2, 2, true), (8, 1, false), (8, 2, false)];
        for (allowed, given, expected) in rows {
            assert_eq!(is_affordable(allowed, given), expected, "{allowed} {given}");
        }
    }

    #[tokio::test]
    async fn it_stays_awake_while_others_work() {
        let (busy_poll, tasks) = stepping(30);
        busy_poll.0.waits.lock().behind_work = u32::MAX;
        let worked = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&worked);
        tasks.spawn("work", async move {
            for _ in 0..1000 {
                yield_now().await;
            }
            done.store(true, Ordering::Relaxed);
        });
        tasks.spawn("awake", async move { busy_poll.keep_awake().await }).await.unwrap();
        assert!(worked.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn it_sleeps_when_the_next_wait_is_not_expected_to_be_short() {
        let (busy_poll, tasks) = stepping(0);
        let awake = busy_poll.clone();
        tasks.spawn("work", yield_now());
        // With a clock that stands still nothing but that ends it.
        tasks.spawn("awake", async move { awake.keep_awake().await }).await.unwrap();
    }

    /// By its clock a sleep takes 10 µs, whatever the machine does.
    #[test]
    fn a_worker_whose_sleeps_are_short_stays_awake() {
        let (busy_poll, tasks) = stepping(10);
        let runtime = build_runtime(NonZeroUsize::MIN, Some(&busy_poll)).unwrap();
        runtime.block_on(async {
            tasks.spawn_daemon("busy-poll", busy_poll.clone().run());
            for _ in 0..1_000_000 {
                tasks.spawn("work", yield_now()).await.unwrap();
                if busy_poll.0.seconds.get() > 0.0 {
                    return;
                }
            }
            panic!("it never waited awake");
        });
    }
}
