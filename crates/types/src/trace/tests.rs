//! Tables of the specification of Trace Context, and what holds for any text.

use proptest::prelude::*;

use super::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// The cases of the specification's text and of its own test suite.
#[test]
fn a_traceparent_is_one_or_none() {
    let cases: &[(&str, Option<bool>)] = &[
        ("00-TRACE-SPAN-01", Some(true)),
        ("00-TRACE-SPAN-00", Some(false)),
        // Flags that are not known say nothing.
        ("00-TRACE-SPAN-03", Some(true)),
        ("00-TRACE-SPAN-fe", Some(false)),
        ("00-TRACE-SPAN-0F", None),
        ("00-TRACE-SPAN-.0", None),
        ("00-TRACE-SPAN-1", None),
        ("00-TRACE-SPAN-001", None),
        ("00-TRACE-SPAN", None),
        // A later version may have more to say, but not less, and nothing without a dash.
        ("cc-TRACE-SPAN-01", Some(true)),
        ("cc-TRACE-SPAN-01-what-the-future-will-be-like", Some(true)),
        ("cc-TRACE-SPAN-01.what-the-future-will-not-be-like", None),
        ("cc-TRACE-SPAN", None),
        ("00-TRACE-SPAN-01-what-the-future-will-be-like", None),
        ("00-TRACE-SPAN-01-", None),
        ("ff-TRACE-SPAN-01", None),
        ("0-TRACE-SPAN-01", None),
        (".0-TRACE-SPAN-01", None),
        ("0.-TRACE-SPAN-01", None),
        ("00-00000000000000000000000000000000-SPAN-01", None),
        ("00-TRACE-0000000000000000-01", None),
        ("00-.bf92f3577b34da6a3ce929d0e0e4736-SPAN-01", None),
        ("00-4BF92F3577B34DA6A3CE929D0E0E4736-SPAN-01", None),
        ("00-TRACE-00F067AA0BA902B7-01", None),
        ("00-TRACE-.0f067aa0ba902b7-01", None),
        ("00-TRACE0-SPAN-01", None),
        ("00-TRACE-SPAN0-01", None),
        ("00_TRACE-SPAN-01", None),
        ("00-TRACE_SPAN-01", None),
        ("00-TRACE-SPAN_01", None),
        ("", None),
    ];
    for (text, expected) in cases {
        let text = text.replace("TRACE", TRACE).replace("SPAN", SPAN);
        let context = TraceContext::parse(text.as_bytes());
        assert_eq!(context.map(|own| own.sampled), *expected, "{text}");
        if let Some(context) = context {
            assert_eq!([context.trace.to_string(), context.span.to_string()], [TRACE, SPAN]);
        }
    }
}

#[test]
fn what_is_written_is_read_again() {
    for sampled in [true, false] {
        let (trace, span) = (TraceId::from_random([0xa5; 16]), SpanId::from_random([7; 8]));
        let context = TraceContext { trace, span, sampled };
        assert_eq!(TraceContext::parse(context.to_string().as_bytes()), Some(context));
    }
    let zeros =
        [TraceId::from_random([0; 16]).to_string(), SpanId::from_random([0; 8]).to_string()];
    assert!(zeros.iter().all(|id| id.contains('1')), "{zeros:?}");
}

#[test]
fn a_tracestate_is_a_list_or_nothing() {
    let many = |count: usize| (0..count).map(|at| format!("k{at}=1,")).collect::<String>();
    let long = |length: usize| "a".repeat(length);
    let cases = [
        (String::new(), true),
        ("foo=1".into(), true),
        ("foo=1,bar=2".into(), true),
        ("foo=1 \t , \t bar=2, \t baz=3".into(), true),
        ("foo=1,,bar=2,".into(), true),
        ("foo=val ue".into(), true),
        ("a-b_c*d/e=1".into(), true),
        ("t61rcwkgmze@vendor=1".into(), true),
        ("1tenant@vendor=1".into(), true),
        (many(32), true),
        (many(33), false),
        (format!("{}=1", long(256)), true),
        (format!("{}=1", long(257)), false),
        (format!("{}@{}=1", long(241), long(14)), true),
        (format!("{}@v=1", long(242)), false),
        (format!("t@{}=1", long(15)), false),
        (format!("k={}", long(256)), true),
        (format!("k={}", long(257)), false),
        ("foo".into(), false),
        ("foo=".into(), false),
        ("=1".into(), false),
        ("foo =1".into(), false),
        ("FOO=1".into(), false),
        ("1foo=1".into(), false),
        ("foo.bar=1".into(), false),
        ("foo@=1".into(), false),
        ("@foo=1".into(), false),
        ("foo@@bar=1".into(), false),
        ("foo@bar@baz=1".into(), false),
        ("foo@1bar=1".into(), false),
        ("foo=bar=baz".into(), false),
        ("foo=\u{7f}".into(), false),
        ("foo=a\tb".into(), false),
        ("foo=1;bar=2,foo".into(), false),
    ];
    for (text, expected) in cases {
        assert_eq!(is_tracestate([text.as_bytes()]), expected, "{text}");
    }
    // Fields count together.
    let (half, rest) = (many(16), many(17));
    assert!(is_tracestate([half.as_bytes(), half.as_bytes()]));
    assert!(!is_tracestate([half.as_bytes(), rest.as_bytes()]));
    assert!(is_tracestate([]));
}

#[test]
fn a_sampler_goes_by_its_name_and_by_whoever_asked() {
    let of = |share: u8| TraceId([0, 0, 0, 0, 0, 0, 0, 1, share, 0, 0, 0, 0, 0, 0, 0]);
    let asked =
        |sampled| Some(TraceContext { trace: of(0), span: SpanId::from_random([1; 8]), sampled });
    // Kept: of a trace that begins here with a low and a high share; of one that whoever asked
    // does not keep, and keeps.
    for (name, share, expected) in [
        ("always_on", "", [true; 4]),
        ("always_off", "", [false; 4]),
        ("traceidratio", "", [true; 4]),
        ("traceidratio", "1", [true; 4]),
        ("traceidratio", "0", [false; 4]),
        ("traceidratio", "0.5", [true, false, true, true]),
        ("parentbased_always_on", "", [true, true, false, true]),
        ("parentbased_always_off", "", [false, false, false, true]),
        ("parentbased_traceidratio", "0.5", [true, false, false, true]),
        ("parentbased_traceidratio", "0.000001", [false, false, false, true]),
    ] {
        let sampler = Sampler::parse(name, share).unwrap();
        let kept = [
            sampler.keeps(of(0x7f), None),
            sampler.keeps(of(0x80), None),
            sampler.keeps(of(0), asked(false).as_ref()),
            sampler.keeps(of(0), asked(true).as_ref()),
        ];
        assert_eq!(kept, expected, "{name} {share}");
    }
    assert_eq!(Sampler::default(), Sampler::parse("parentbased_always_on", "").unwrap());
}

#[test]
fn a_sampler_that_cannot_be_is_named() {
    for (name, share, expected) in [
        ("jaeger_remote", "", "\"jaeger_remote\" is none of always_on"),
        ("", "", "\"\" is none of"),
        ("parentbased_", "", "\"parentbased_\" is none of"),
        ("traceidratio", "half", "\"half\" is no number from 0 to 1"),
        ("traceidratio", "1.5", "\"1.5\" is no number"),
        ("parentbased_traceidratio", "-0.1", "\"-0.1\" is no number"),
        ("traceidratio", "NaN", "\"NaN\" is no number"),
    ] {
        let error = Sampler::parse(name, share).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

proptest! {
    #[test]
    fn no_bytes_are_more_than_malformed(text in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = TraceContext::parse(&text);
        let _ = is_tracestate([&*text]);
    }

    #[test]
    fn no_text_of_a_traceparents_form_is_more_than_malformed(text in "[0-9a-f-]{55,58}") {
        let _ = TraceContext::parse(text.as_bytes());
    }
}
