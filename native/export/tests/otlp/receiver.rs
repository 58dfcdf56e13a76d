//! A receiver of OTLP on a free loopback port: hyper, and tonic's generated
//! services, decoding with opentelemetry-proto. It does what its script says
//! and takes what comes after.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use erlmcp_export::otlp::{OtlpProtocol, Signal};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::logs::v1 as logs;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server as logs_server;
use opentelemetry_proto::tonic::collector::metrics::v1 as metrics;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server as metrics_server;
use opentelemetry_proto::tonic::collector::trace::v1 as trace;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server as trace_server;
use parking_lot::Mutex;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tonic::codec::CompressionEncoding;
use tonic::codegen::Service;
use tonic::{Code, Status};

/// What the receiver does with one request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Take,
    /// Takes it but for so many records.
    Partial(i64),
    Http(u16, Option<String>),
    Grpc(Code, Option<Duration>),
    /// Closes the connection instead of answering.
    Close,
    /// Takes it after so long.
    Slow(Duration),
    /// Takes it when the test says so.
    Held,
}

/// A request that came, whether it was taken or not.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) signal: Signal,
    pub(crate) headers: HeaderMap,
    pub(crate) names: Vec<String>,
    pub(crate) service: String,
    pub(crate) bytes: usize,
    pub(crate) taken: bool,
    pub(crate) at: Instant,
}

#[derive(Debug)]
struct State {
    script: Mutex<VecDeque<Reply>>,
    received: Mutex<Vec<Received>>,
    /// Largest request that is taken.
    max_bytes: usize,
    close: Notify,
    release: Notify,
}

pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    pub(crate) tls: bool,
    state: Arc<State>,
    runtime: Option<Runtime>,
}

pub(crate) struct Options {
    pub(crate) protocol: OtlpProtocol,
    pub(crate) tls: Option<rustls::ServerConfig>,
    pub(crate) max_bytes: usize,
    pub(crate) address: SocketAddr,
}

impl Options {
    pub(crate) fn new(protocol: OtlpProtocol) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { protocol, tls: None, max_bytes: 4 << 20, address }
    }
}

impl Receiver {
    pub(crate) fn new(protocol: OtlpProtocol, script: impl IntoIterator<Item = Reply>) -> Self {
        Self::start(Options::new(protocol), script)
    }

    pub(crate) fn start(options: Options, script: impl IntoIterator<Item = Reply>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let state = Arc::new(State {
            script: Mutex::new(script.into_iter().collect()),
            received: Mutex::default(),
            max_bytes: options.max_bytes,
            close: Notify::new(),
            release: Notify::new(),
        });
        let listener = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.set_reuseaddr(true).unwrap();
            socket.bind(options.address).unwrap();
            socket.listen(64).unwrap()
        });
        let address = listener.local_addr().unwrap();
        let tls = options.tls.is_some();
        runtime.spawn(accept(listener, options, Arc::clone(&state)));
        Self { address, tls, state, runtime: Some(runtime) }
    }

    /// Lets a request that is held be taken.
    pub(crate) fn release(&self) {
        self.state.release.notify_one();
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.state.received.lock().clone()
    }

    /// Names of the records that were taken, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let taken = self.received().into_iter().filter(|received| received.taken);
        let mut names: Vec<String> = taken.flat_map(|received| received.names).collect();
        names.sort();
        names
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: TcpListener, options: Options, state: Arc<State>) {
    let (protocol, tls) = (options.protocol, options.tls);
    let tls = tls.map(|mut tls| {
        tls.alpn_protocols = match protocol {
            OtlpProtocol::Grpc => vec![b"h2".to_vec()],
            OtlpProtocol::HttpProtobuf => vec![b"http/1.1".to_vec()],
        };
        TlsAcceptor::from(Arc::new(tls))
    });
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, state) = (tls.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            match tls {
                None => serve(stream, protocol, state).await,
                Some(tls) => {
                    let Ok(stream) = tls.accept(stream).await else { return };
                    serve(stream, protocol, state).await;
                }
            }
        });
    }
}

async fn serve<S>(stream: S, protocol: OtlpProtocol, state: Arc<State>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(stream);
    let closing = Arc::clone(&state);
    let closed = closing.close.notified();
    match protocol {
        OtlpProtocol::HttpProtobuf => {
            let service = service_fn(move |request| http_answer(request, Arc::clone(&state)));
            tokio::select! {
                _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service) => {}
                () = closed => {}
            }
        }
        OtlpProtocol::Grpc => {
            let service = service_fn(move |request| grpc_answer(request, Arc::clone(&state)));
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::select! {
                _ = builder.serve_connection(io, service) => {}
                () = closed => {}
            }
        }
    }
}

impl State {
    fn next(&self, mut received: Received) -> Reply {
        let reply = self.script.lock().pop_front().unwrap_or(Reply::Take);
        received.taken =
            matches!(reply, Reply::Take | Reply::Partial(_) | Reply::Slow(_) | Reply::Held);
        self.received.lock().push(received);
        reply
    }

    async fn hang_up(&self) {
        self.close.notify_waiters();
        std::future::pending::<()>().await;
    }
}

async fn http_answer(
    request: http::Request<Incoming>,
    state: Arc<State>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let body = match head.headers.get("content-encoding").map(|value| value.to_str().unwrap()) {
        Some("gzip") => {
            let mut plain = Vec::new();
            let mut decoder = flate2::read::GzDecoder::new(body.as_ref());
            std::io::Read::read_to_end(&mut decoder, &mut plain).unwrap();
            plain.into()
        }
        _ => body,
    };
    if body.len() > state.max_bytes {
        let mut response = Response::new(Full::new(Bytes::from_static(b"too large")));
        *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        return Ok(response);
    }
    let (signal, partial): (_, fn(i64) -> Vec<u8>) = match head.uri.path() {
        "/v1/traces" => (Signal::Traces, |n| trace_partial(n).encode_to_vec()),
        "/v1/metrics" => (Signal::Metrics, |n| metrics_partial(n).encode_to_vec()),
        "/v1/logs" => (Signal::Logs, |n| logs_partial(n).encode_to_vec()),
        path => panic!("unknown path {path}"),
    };
    assert_eq!(head.headers["content-type"], "application/x-protobuf");
    let received = match signal {
        Signal::Traces => trace_received(&Message::decode(body).unwrap(), head.headers),
        Signal::Metrics => metrics_received(&Message::decode(body).unwrap(), head.headers),
        Signal::Logs => logs_received(&Message::decode(body).unwrap(), head.headers),
    };
    let mut response = Response::new(Full::default());
    match state.next(received) {
        Reply::Take => {}
        Reply::Partial(rejected) => *response.body_mut() = Full::new(partial(rejected).into()),
        Reply::Http(status, retry_after) => {
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            if let Some(retry_after) = retry_after {
                response.headers_mut().insert("retry-after", retry_after.parse().unwrap());
            }
        }
        Reply::Grpc(..) => panic!("this receiver speaks HTTP"),
        Reply::Close => state.hang_up().await,
        Reply::Slow(time) => tokio::time::sleep(time).await,
        Reply::Held => state.release.notified().await,
    }
    Ok(response)
}

async fn grpc_answer(
    request: http::Request<Incoming>,
    state: Arc<State>,
) -> Result<Response<tonic::body::Body>, Infallible> {
    const GZIP: CompressionEncoding = CompressionEncoding::Gzip;
    let (max, services) = (state.max_bytes, Services(state));
    match request.uri().path().split('/').nth(1).unwrap() {
        trace_server::SERVICE_NAME => {
            trace_server::TraceServiceServer::new(services)
                .accept_compressed(GZIP)
                .max_decoding_message_size(max)
                .call(request)
                .await
        }
        metrics_server::SERVICE_NAME => {
            metrics_server::MetricsServiceServer::new(services)
                .accept_compressed(GZIP)
                .max_decoding_message_size(max)
                .call(request)
                .await
        }
        _ => {
            logs_server::LogsServiceServer::new(services)
                .accept_compressed(GZIP)
                .max_decoding_message_size(max)
                .call(request)
                .await
        }
    }
}

struct Services(Arc<State>);

impl Services {
    async fn export<R: Default>(
        &self,
        received: Received,
        partial: fn(i64) -> R,
    ) -> Result<tonic::Response<R>, Status> {
        match self.0.next(received) {
            Reply::Take => {}
            Reply::Partial(rejected) => return Ok(tonic::Response::new(partial(rejected))),
            Reply::Http(..) => panic!("this receiver speaks gRPC"),
            Reply::Grpc(code, None) => return Err(Status::new(code, "as the script says")),
            Reply::Grpc(code, Some(delay)) => {
                let details = retry_info(code, delay).into();
                return Err(Status::with_details(code, "as the script says", details));
            }
            Reply::Close => self.0.hang_up().await,
            Reply::Slow(time) => tokio::time::sleep(time).await,
            Reply::Held => self.0.release.notified().await,
        }
        Ok(tonic::Response::new(R::default()))
    }
}

#[tonic::async_trait]
impl trace_server::TraceService for Services {
    async fn export(
        &self,
        request: tonic::Request<trace::ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<trace::ExportTraceServiceResponse>, Status> {
        let headers = request.metadata().clone().into_headers();
        self.export(trace_received(request.get_ref(), headers), trace_partial).await
    }
}

#[tonic::async_trait]
impl metrics_server::MetricsService for Services {
    async fn export(
        &self,
        request: tonic::Request<metrics::ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<metrics::ExportMetricsServiceResponse>, Status> {
        let headers = request.metadata().clone().into_headers();
        self.export(metrics_received(request.get_ref(), headers), metrics_partial).await
    }
}

#[tonic::async_trait]
impl logs_server::LogsService for Services {
    async fn export(
        &self,
        request: tonic::Request<logs::ExportLogsServiceRequest>,
    ) -> Result<tonic::Response<logs::ExportLogsServiceResponse>, Status> {
        let headers = request.metadata().clone().into_headers();
        self.export(logs_received(request.get_ref(), headers), logs_partial).await
    }
}

fn trace_partial(rejected_spans: i64) -> trace::ExportTraceServiceResponse {
    let error_message = "some are bad".to_owned();
    trace::ExportTraceServiceResponse {
        partial_success: Some(trace::ExportTracePartialSuccess { rejected_spans, error_message }),
    }
}

fn metrics_partial(rejected_data_points: i64) -> metrics::ExportMetricsServiceResponse {
    let error_message = "some are bad".to_owned();
    metrics::ExportMetricsServiceResponse {
        partial_success: Some(metrics::ExportMetricsPartialSuccess {
            rejected_data_points,
            error_message,
        }),
    }
}

fn logs_partial(rejected_log_records: i64) -> logs::ExportLogsServiceResponse {
    let error_message = "some are bad".to_owned();
    logs::ExportLogsServiceResponse {
        partial_success: Some(logs::ExportLogsPartialSuccess {
            rejected_log_records,
            error_message,
        }),
    }
}

fn received(signal: Signal, headers: HeaderMap, names: Vec<String>, bytes: usize) -> Received {
    let service = String::new();
    Received { signal, headers, names, service, bytes, taken: false, at: Instant::now() }
}

fn trace_received(request: &trace::ExportTraceServiceRequest, headers: HeaderMap) -> Received {
    let [spans] = request.resource_spans.as_slice() else { panic!("one resource") };
    let [scope] = spans.scope_spans.as_slice() else { panic!("one scope") };
    let names = scope.spans.iter().map(|span| span.name.clone()).collect();
    let mut received = received(Signal::Traces, headers, names, request.encoded_len());
    let attribute = &spans.resource.as_ref().unwrap().attributes[0];
    received.service = format!("{:?}", attribute.value.as_ref().unwrap().value);
    received
}

fn metrics_received(
    request: &metrics::ExportMetricsServiceRequest,
    headers: HeaderMap,
) -> Received {
    let [metrics] = request.resource_metrics.as_slice() else { panic!("one resource") };
    let [scope] = metrics.scope_metrics.as_slice() else { panic!("one scope") };
    let names = scope.metrics.iter().map(|metric| metric.name.clone()).collect();
    received(Signal::Metrics, headers, names, request.encoded_len())
}

fn logs_received(request: &logs::ExportLogsServiceRequest, headers: HeaderMap) -> Received {
    let [logs] = request.resource_logs.as_slice() else { panic!("one resource") };
    let [scope] = logs.scope_logs.as_slice() else { panic!("one scope") };
    let names = scope.log_records.iter().map(|record| record.event_name.clone()).collect();
    received(Signal::Logs, headers, names, request.encoded_len())
}

/// A `google.rpc.Status` with a `RetryInfo`, field by field.
fn retry_info(code: Code, delay: Duration) -> Vec<u8> {
    let field = |tag: u8, message: &[u8]| [&[tag, message.len() as u8], message].concat();
    let mut duration = vec![0x08, delay.as_secs() as u8, 0x10];
    prost::encoding::encode_varint(u64::from(delay.subsec_nanos()), &mut duration);
    let url = field(0x0A, b"type.googleapis.com/google.rpc.RetryInfo");
    let info = field(0x12, &field(0x0A, &duration));
    [&[0x08, code as u8], field(0x1A, &[url, info].concat()).as_slice()].concat()
}
