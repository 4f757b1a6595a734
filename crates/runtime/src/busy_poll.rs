//! Waiting awake for what comes at once.
//!
//! A thread that sleeps until a socket has something is waked through an idle processor, and at
//! one request at a time that takes longer than what is done for it. So a worker whose last waits were
//! short looks a little longer before it sleeps, and offers the processor to others between two
//! looks: when somebody takes it for long, the worker sleeps for a while. Linux does the like for
//! virtual processors (`Documentation/virt/kvm/halt-polling.rst`).

use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll};
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
/// waited for. Linux lets one run for 3 ms.
const LOST: Duration = Duration::from_millis(1);

/// For how long no wait is awake after that.
const REST: Duration = Duration::from_millis(50);

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

    /// Whether this process may: not under a quota of processor time (cgroup's `cpu.max`), which
    /// waiting would take from working.
    #[must_use]
    pub fn is_affordable() -> bool {
        let given = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let allowed = rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count());
        usize::try_from(allowed).is_ok_and(|allowed| allowed <= given)
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
            EndOfQueue::default().await;
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
                if awake >= waits.limit() || waits.is_resting(now) {
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
    /// Until when none is awake.
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
            self.rest = now + REST;
        }
    }

    fn is_resting(&self, now: Duration) -> bool {
        now < self.rest
    }

    /// How long the wait that goes on, or comes next, may be awake.
    const fn limit(&self) -> Duration {
        if self.paused { LIMIT_BEHIND_PAUSE } else { LIMIT }
    }

    /// Three of four of the last were short: for three waits that are made shorter one at most is
    /// awake in vain. Among many connections half of them are long.
    fn next_is_awake(&self, now: Duration) -> bool {
        let last = if self.paused { self.behind_pause } else { self.behind_work };
        last.count_ones() >= u32::BITS / 4 * 3 && !self.is_resting(now)
    }
}

/// Ready when everything has run that is ready now.
#[derive(Default)]
struct EndOfQueue {
    asked: bool,
}

impl Future for EndOfQueue {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.asked {
            return Poll::Ready(());
        }
        self.asked = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

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
        let now = wait(&mut waits, &[50; 32], Duration::ZERO);
        waits.offered(now, now + LOST - us(1));
        assert!(waits.next_is_awake(now + LOST), "others worked for a moment");
        let now = now + LOST;
        waits.offered(now - LOST, now);
        assert!(!waits.next_is_awake(now));
        assert!(!waits.next_is_awake(now + REST - us(1)));
        assert!(waits.next_is_awake(now + REST));
    }

    #[tokio::test]
    async fn a_wait_is_awake_up_to_its_limit_and_counts() {
        let (busy_poll, tasks) = stepping(7);
        let awake = busy_poll.clone();
        tasks.spawn("awake", async move { awake.keep_awake().await }).await.unwrap();
        let counted = busy_poll.0.seconds.get();
        assert!((200e-6..=214e-6).contains(&counted), "{counted}");
        // The worker sleeps behind it: all of that is one wait, and a long one.
        busy_poll.before_sleep();
        busy_poll.after_sleep();
        assert_eq!(busy_poll.0.waits.lock().behind_work, 0);
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
