//! One trace through a hub and an agent, as a collector gets it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use http_body_util::BodyExt as _;
use strait_machinery::json::{Value, parse};
use strait_net::{Body, Server, ServerMetrics, TraceExporter, TraceTarget, handler};
use strait_runtime::{Context, Metrics, Shutdown, TaskSet, Tracer};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::harness::{Client, PATIENCE, TestHub, context};
use crate::hooks::{gateway, post};
use crate::site::{Agent, Site};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// Something over HTTP that answers 200 and tells of what it was sent.
struct Server200 {
    url: String,
    asked: mpsc::Receiver<(HeaderMap, Bytes)>,
}

impl Server200 {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (tell, asked) = mpsc::channel(64);
        let metrics = Metrics::new();
        let tasks = TaskSet::new(&metrics);
        let server = Server::plain(ServerMetrics::new(&metrics), tasks.clone(), Shutdown::new());
        let answer = handler(move |_, request| {
            let tell = tell.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                tell.send((head.headers, body)).await.unwrap();
                Response::new(Body::from("{}"))
            }
        });
        tasks.spawn_daemon("server", server.serve(listener, answer));
        Self { url, asked }
    }

    async fn asked(&mut self) -> (HeaderMap, Bytes) {
        let asked = tokio::time::timeout(PATIENCE, self.asked.recv()).await;
        asked.expect("it is asked in time").unwrap()
    }
}

/// A process that is traced.
struct Traced {
    context: Context,
    exporter: Arc<TraceExporter>,
}

impl Traced {
    /// Its spans go to this URL.
    fn new(service: &str, url: &str) -> Self {
        let mut context = context();
        let (clock, entropy) = (context.clock.clone(), context.entropy.clone());
        let sampler = strait_types::Sampler::default();
        let (tracer, spans) = Tracer::new(sampler, clock, entropy, &context.metrics);
        context.tracer = tracer;
        let url = format!("{url}/v1/traces").parse().unwrap();
        let target = TraceTarget { url, headers: HeaderMap::new(), service: service.into() };
        let exporter = TraceExporter::new(target, None, spans, &context);
        Self { context, exporter }
    }

    fn metric(&self, name: &str) -> u64 {
        let text = self.context.metrics.encode();
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        value.unwrap_or_else(|| panic!("{name} in\n{text}")).trim().parse().unwrap()
    }
}

/// A span, as the collector got it.
#[derive(Debug)]
struct Got {
    of: String,
    value: Value,
}

impl Got {
    fn text(&self, key: &str) -> &str {
        self.value.str_at(&[key]).unwrap_or_default()
    }

    fn said(&self, key: &str) -> Option<&str> {
        let all = self.value.array_at(&["attributes"]);
        let found = all.iter().find(|one| one.str_at(&["key"]) == Some(key))?;
        found.str_at(&["value", "stringValue"]).or_else(|| found.str_at(&["value", "intValue"]))
    }
}

/// What came of a trace, until these spans of it are there, in their order.
async fn spans_of(collector: &mut Server200, trace: &str, names: &[&str]) -> Vec<Got> {
    let mut all: Vec<Got> = Vec::new();
    loop {
        let found: Option<Vec<usize>> =
            names.iter().map(|name| all.iter().position(|own| own.text("name") == *name)).collect();
        if found.is_some() {
            let place = |own: &Got| names.iter().position(|name| own.text("name") == *name);
            all.sort_by_key(|own| place(own).unwrap_or(names.len()));
            return all;
        }
        let (_, body) = collector.asked().await;
        let request = parse(&body).unwrap();
        for resource in request.array_at(&["resourceSpans"]) {
            let about = &resource.array_at(&["resource", "attributes"])[0];
            let of = about.str_at(&["value", "stringValue"]).unwrap();
            for span in resource.array_at(&["scopeSpans"])[0].array_at(&["spans"]) {
                if span.str_at(&["traceId"]) == Some(trace) {
                    all.push(Got { of: of.to_owned(), value: span.clone() });
                }
            }
        }
    }
}

struct Scene {
    site: Site,
    hub: Traced,
    smith: Traced,
    agent: Agent,
    service: Server200,
    /// In the agent's workspace.
    client: Client,
}

impl Scene {
    /// A hub and an agent whose spans go to this URL.
    async fn new(collector: &str) -> Self {
        let [hub, smith] = ["strait-hub", "strait-agent"].map(|name| Traced::new(name, collector));
        let site = Site::at(TestHub::start_within(hub.context.clone()).await).await;
        let service = Server200::start().await;
        let services = format!(
            "apiVersion: relay.strait.dev/v1alpha1\nkind: AgentConfig\n\
             services: [{{name: ci, type: http, url: '{}'}}]\n",
            service.url
        );
        let agent = site.agent_within(&services, smith.context.clone()).await;
        let client = site.within("root:provider");
        client.wait("/apis/relay.strait.dev/v1alpha1/services", "ci.smith", |_| true).await;
        site.connections(2).await;
        Self { site, hub, smith, agent, service, client }
    }

    fn export(&self) {
        for one in [&self.hub, &self.smith] {
            one.context.tasks.spawn_daemon("traces", one.exporter.clone().run());
        }
    }

    /// Asks the service, and returns what of the trace that is told.
    async fn ask(&mut self, fields: &[(&'static str, &str)]) -> [Option<String>; 2] {
        let mut client = self.client.header("x-secret", "hidden");
        for (name, value) in fields {
            client = client.header(name, value);
        }
        let path = "/services/relay/smith/ci/jobs?secret=hidden";
        let answer = client.send_bytes(Method::POST, path, Bytes::from_static(b"{}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let (headers, _) = self.service.asked().await;
        ["traceparent", "tracestate"]
            .map(|name| Some(headers.get(name)?.to_str().unwrap().to_owned()))
    }
}

#[tokio::test]
async fn a_request_is_one_trace_from_its_client_to_the_service() {
    let mut collector = Server200::start().await;
    let mut scene = Scene::new(&collector.url).await;
    scene.export();
    let asked = format!("00-{TRACE}-{SPAN}-01");
    let fields = [("traceparent", &*asked), ("tracestate", "vendor=1")];
    let told = scene.ask(&fields).await;

    let names = ["hub.relay", "agent.relay", "agent.dial"];
    let got = spans_of(&mut collector, TRACE, &names).await;
    let [hub, agent, dial] = <[Got; 3]>::try_from(got).unwrap();
    assert_eq!([&hub.of, &agent.of, &dial.of], ["strait-hub", "strait-agent", "strait-agent"]);
    let parents = [&hub, &agent, &dial].map(|own| own.text("parentSpanId"));
    assert_eq!(parents, [SPAN, hub.text("spanId"), agent.text("spanId")]);
    let kinds = [&hub, &agent, &dial].map(|own| own.value.at(&["kind"]).unwrap().as_i64());
    assert_eq!(kinds, [Some(2), Some(3), Some(3)]);
    let named = format!("00-{TRACE}-{}-01", agent.text("spanId"));
    assert_eq!(told, [Some(named), Some("vendor=1".to_owned())]);

    for span in [&hub, &agent] {
        assert_eq!(span.said("strait.agent"), Some("smith"));
        assert_eq!(span.said("strait.service"), Some("ci"));
        assert_eq!(span.said("http.request.method"), Some("POST"));
        assert_eq!(span.said("http.response.status_code"), Some("200"));
        assert_eq!(span.said("error.type"), None);
    }
    assert_eq!(hub.said("strait.workspace"), agent.said("strait.workspace"));
    let port = scene.service.url.rsplit(':').next().unwrap();
    for span in [&hub, &agent, &dial] {
        let text = String::from_utf8(span.value.to_bytes()).unwrap();
        for inner in ["127.0.0.1", "hidden", "secret", "jobs", &format!(":{port}")] {
            assert!(!text.contains(inner), "{inner} in {text}");
        }
    }

    // The connection is there now.
    let other = format!("00-{}-{SPAN}-01", TRACE.replace('4', "5"));
    scene.ask(&[("traceparent", &other)]).await;
    let names = ["hub.relay", "agent.relay"];
    let got = spans_of(&mut collector, &TRACE.replace('4', "5"), &names).await;
    assert_eq!(got.len(), 2, "{got:?}");
    scene.agent.stop().await;
}

#[tokio::test]
async fn a_trace_begins_where_none_is_told_and_is_not_where_nobody_keeps_it() {
    let mut collector = Server200::start().await;
    let mut scene = Scene::new(&collector.url).await;
    scene.export();
    // What is malformed is as if it were not there, and what is said of that is said of nothing.
    for wrong in ["", "00-1-2-01"] {
        let fields = [("traceparent", wrong), ("tracestate", "vendor=1")];
        let [parent, state] = scene.ask(&fields).await;
        let parent = parent.unwrap();
        let (trace, span) = (&parent[3..35], &parent[36..52]);
        let names = ["hub.relay", "agent.relay"];
        let got = spans_of(&mut collector, trace, &names).await;
        assert_eq!(got[0].text("parentSpanId"), "");
        assert_eq!((got[1].text("spanId"), state), (span, None));
    }
    let unsampled = format!("00-{TRACE}-{SPAN}-00");
    let fields = [("traceparent", &*unsampled), ("tracestate", "vendor=1")];
    let told = scene.ask(&fields).await;
    assert_eq!(told, [Some(unsampled.clone()), Some("vendor=1".to_owned())]);
    scene.agent.stop().await;
}

#[tokio::test]
async fn what_is_refused_says_why_and_not_of_what() {
    let mut collector = Server200::start().await;
    let scene = Scene::new(&collector.url).await;
    scene.export();
    let asked = format!("00-{TRACE}-{SPAN}-01");
    let nobody = scene.site.hub.client("nobody", &[]).within("root:provider");
    let nobody = nobody.header("traceparent", &asked);
    let answer = nobody.get("/services/relay/smith/ci/").await;
    assert_eq!(answer.status, 404);
    let got = spans_of(&mut collector, TRACE, &["hub.relay"]).await;
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].said("http.response.status_code"), Some("404"));
    assert_eq!(got[0].said("error.type"), Some("NotFound"));
    assert_eq!(got[0].said("strait.agent"), None);
    assert_eq!(got[0].value.at(&["status"]), None);
    scene.agent.stop().await;
}

/// Without a collector, and with one that takes connections and says nothing.
#[tokio::test]
async fn requests_do_not_feel_a_collector_that_is_away_or_slow() {
    for is_slow in [false, true] {
        // Kept open, it lets connections come that nobody serves.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = match is_slow {
            true => format!("http://{}", silent.local_addr().unwrap()),
            false => "http://127.0.0.1:1".to_owned(),
        };
        let mut scene = Scene::new(&url).await;
        let began = Instant::now();
        if is_slow {
            scene.export();
        }
        for _ in 0..20 {
            let [parent, _] = scene.ask(&[]).await;
            assert!(parent.is_some());
        }
        // The collector's own times are 5 and 10 s.
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        scene.agent.stop().await;
        let lost = "strait_net_spans_total{outcome=\"lost\"}";
        let _ = scene.smith.context.tasks.shutdown(Duration::ZERO).await;
        scene.smith.exporter.flush(Duration::from_millis(200)).await;
        assert!(scene.smith.metric(lost) >= 20, "{}", scene.smith.metric(lost));
        assert_eq!(scene.smith.metric("strait_net_spans_total{outcome=\"sent\"}"), 0);
    }
}

#[tokio::test]
async fn a_webhook_is_one_trace_from_its_sender_to_the_backend() {
    let mut collector = Server200::start().await;
    let mut scene = Scene::new(&collector.url).await;
    scene.export();
    let address = gateway(&mut scene.site).await;
    let parent = format!("00-{TRACE}-{SPAN}-01");
    let fields = [("traceparent", &*parent), ("tracestate", "vendor=1")];
    assert_eq!(post(address, &fields, "{}").await, 202);

    let names = ["hooks.receive", "hooks.deliver", "agent.relay"];
    let got = spans_of(&mut collector, TRACE, &names).await;
    let parents: Vec<&str> = got[..3].iter().map(|own| own.text("parentSpanId")).collect();
    assert_eq!(parents, [SPAN, got[0].text("spanId"), got[1].text("spanId")]);
    let link = &got[1].value.array_at(&["links"])[0];
    assert_eq!(link.str_at(&["spanId"]), Some(got[0].text("spanId")));
    assert_eq!(got[0].said("http.response.status_code"), Some("202"));
    assert_eq!(got[1].said("strait.backend"), Some("ci"));
    let headers = loop {
        // Heartbeats go there as well, and are of no trace.
        let (headers, _) = scene.service.asked().await;
        if headers.contains_key("traceparent") {
            break headers;
        }
    };
    assert_eq!(headers["traceparent"], format!("00-{TRACE}-{}-01", got[2].text("spanId")));
    assert_eq!(headers["tracestate"], "vendor=1");
    scene.agent.stop().await;
}
