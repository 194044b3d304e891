//! The Plan as it crosses: one JSON document, field for field what
//! `src/native/plan.ts` says.

use crate::access::{AccessLogDto, TracingDto};
use serde::Deserialize;
use tidegate_balance::BalancePlan;
use tidegate_broker::{Action, Rule};
use tidegate_dtls::DtlsPlan;
use tidegate_http::CertificateHeader;
use tidegate_policy::{ScriptPlan, StepPlan};
use tidegate_route::MatchPlan;
use tidegate_tls::{ClientPlan, ServerPlan};
use tidegate_upstream::ProxyVersion;

#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlanDto {
    pub(crate) version: u64,
    pub(crate) listeners: Vec<ListenerDto>,
    pub(crate) upstreams: Vec<UpstreamDto>,
    pub(crate) routes: Vec<RouteDto>,
    pub(crate) scripts: Vec<ScriptPlan>,
    pub(crate) handlers: Vec<HandlerDto>,
    pub(crate) broker: BrokerDto,
    #[serde(default)]
    pub(crate) hooks: crate::hooks::Hooks,
    pub(crate) mqtt: MqttDto,
    pub(crate) coap: CoapDto,
    pub(crate) access: AccessDto,
    pub(crate) limits: LimitsDto,
    pub(crate) log: LogDto,
    #[serde(default)]
    pub(crate) forward: ForwardDto,
    #[serde(default)]
    pub(crate) tracing: Option<TracingDto>,
    /// SHA-256, hexadecimal, of the tokens that may ask why a request goes where it goes.
    #[serde(default)]
    pub(crate) explain: Vec<String>,
}

impl PlanDto {
    /// The plan before the first one: nothing is listened on, nothing is routed.
    pub(crate) fn empty() -> PlanDto {
        PlanDto {
            version: 0,
            listeners: Vec::new(),
            upstreams: Vec::new(),
            routes: Vec::new(),
            scripts: Vec::new(),
            handlers: Vec::new(),
            broker: BrokerDto {
                http_path: "/t".to_owned(),
                max_queued: 1_000,
                max_queued_bytes: 16 << 20,
                max_waiting_bytes: 1 << 20,
                max_queued_total_bytes: 256 << 20,
                max_retained: 100_000,
                max_subscriptions_per_client: 1_000,
                max_between_workers: 4_096,
                max_queued_age_s: 0,
                max_stored_bytes: u64::MAX,
                durability: Durability::Process,
                max_delayed: 100_000,
                max_pending_wills: 100_000,
                max_pending_deliveries: 262_144,
                sys_interval_s: 0,
                shared_subscriptions: SharedSubscriptions::Fair,
            },
            hooks: Default::default(),
            mqtt: MqttDto {
                max_sessions: 100_000,
                max_packet_bytes: 1 << 20,
                receive_maximum: 100,
                topic_alias_maximum: 16,
                max_inflight: 100,
                server_keep_alive_s: 0,
                max_session_expiry_s: 86_400,
                connect_timeout_ms: 5_000,
                max_connects_per_s: 0,
                redirect: None,
                response_information: None,
            },
            coap: CoapDto {
                max_block_bytes: 1 << 20,
                max_observers: 10_000,
                max_observers_per_client: 100,
                max_upstream_observations: 1_000,
                max_asleep_s: 3_600,
                max_asleep_messages: 100,
                max_asleep_bytes: 64 << 10,
                max_asleep_total_bytes: 64 << 20,
                dedup_entries: 16_384,
                datagrams_per_call: 64,
                nstart: 1,
                cache_entries: 256,
                max_sessions: 100_000,
                max_handshakes: 1_024,
                max_handshakes_per_s: 1_000,
                session_idle_ms: 86_400_000,
                ack_timeout_ms: 2_000,
                max_retransmit: 4,
                max_registrations: 10_000,
                max_registration_bytes: 16 << 10,
                hop_limit: 16,
                forward_proxy: false,
                own_hosts: Vec::new(),
            },
            access: AccessDto { users: Vec::new(), superusers: Vec::new(), jwt: None, http: None, acl: Vec::new() },
            limits: LimitsDto {
                max_connections: 0,
                max_connections_per_source: 0,
                half_open_ms: 5_000,
                header_timeout_ms: 10_000,
                idle_timeout_ms: 75_000,
                stall_timeout_ms: 10_000,
                header_line_bytes: 8 << 10,
                header_total_bytes: 32 << 10,
                header_count: 100,
                body_collected_bytes: 1 << 20,
                websocket_message_bytes: 1 << 20,
                websocket_idle_ms: 300_000,
                websocket_lifetime_ms: 0,
                topic_levels: 128,
                max_decisions: 1_024,
                shed_lag_ms: 0,
                shed_memory_bytes: 0,
                shed_cpu_percent: 0,
                shed_loop_lag_ms: 0,
                max_connects_per_source_per_s: 0,
                cache_bytes: 0,
                cache_entries: 0,
                cache_entry_bytes: 0,
                mirror_copies: 256,
                mirror_copy_bytes: 1 << 20,
                mirror_total_bytes: 16 << 20,
                mirror_timeout_ms: 15_000,
                http2_streams: 128,
                http2_resets_per_second: 100,
                http2_control_per_second: 1_000,
            },
            log: LogDto { sample_every: 0, access: None },
            forward: ForwardDto::default(),
            tracing: None,
            explain: Vec::new(),
        }
    }
}

#[derive(Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListenerDto {
    pub(crate) name: String,
    pub(crate) transport: Transport,
    pub(crate) address: String,
    pub(crate) protocols: Vec<String>,
    pub(crate) proxy_protocol_from: Vec<String>,
    pub(crate) trusted_proxies: Vec<String>,
    pub(crate) anonymous: bool,
    pub(crate) unknown_to: Option<String>,
    pub(crate) tls: Option<ServerPlan>,
    #[serde(default)]
    pub(crate) dtls: Option<DtlsPlan>,
    #[serde(default)]
    pub(crate) oscore: Vec<tidegate_oscore::ContextPlan>,
}

#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpstreamDto {
    pub(crate) name: String,
    pub(crate) protocol: String,
    pub(crate) tls: Option<ClientPlan>,
    #[serde(default)]
    pub(crate) proxy_protocol: Option<ProxyDto>,
    pub(crate) balance: BalancePlan,
    pub(crate) endpoints: Vec<EndpointDto>,
    pub(crate) panic_percent: u8,
    pub(crate) connect_timeout_ms: u64,
    pub(crate) idle_timeout_ms: u64,
    pub(crate) max_connections: u32,
    pub(crate) max_streams: u32,
    pub(crate) max_pending: u32,
    pub(crate) max_requests: u32,
    pub(crate) max_retries: u32,
    #[serde(default)]
    pub(crate) adaptive: Option<tidegate_resilience::AdaptivePlan>,
    pub(crate) breaker: Option<tidegate_resilience::BreakerPlan>,
    pub(crate) outlier: Option<tidegate_resilience::OutlierPlan>,
    pub(crate) problem: Option<String>,
}

/// A version of the PROXY protocol.
#[derive(Deserialize, Debug, Clone, Copy)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProxyDto {
    V1,
    V2,
}

impl ProxyDto {
    pub(crate) const fn version(self) -> ProxyVersion {
        match self {
            ProxyDto::V1 => ProxyVersion::V1,
            ProxyDto::V2 => ProxyVersion::V2,
        }
    }
}

#[derive(Deserialize, Debug)]
pub(crate) struct EndpointDto {
    pub(crate) id: String,
    pub(crate) address: String,
    /// The name behind the address, or the address without its port.
    pub(crate) host: String,
    pub(crate) weight: u32,
    pub(crate) health: f32,
    pub(crate) draining: bool,
    /// In the zone that the upstream prefers.
    #[serde(default)]
    pub(crate) near: bool,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RouteDto {
    pub(crate) name: String,
    pub(crate) priority: i32,
    pub(crate) when: MatchPlan,
    pub(crate) target: TargetDto,
    pub(crate) mirror: Option<String>,
    pub(crate) steps: Vec<StepPlan>,
    pub(crate) timeout_ms: u64,
    pub(crate) problem: Option<String>,
}

#[derive(Deserialize, Debug)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub(crate) enum TargetDto {
    Upstreams { split: Vec<SplitDto> },
    Respond { status: u16, headers: Vec<(String, String)>, body: String },
    Redirect { location: String, status: u16 },
    Topic { topic: String },
    Handler { name: String },
    Directory { path: String },
}

#[derive(Deserialize, Debug)]
pub(crate) struct SplitDto {
    pub(crate) upstream: String,
    pub(crate) weight: u32,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HandlerDto {
    pub(crate) name: String,
    pub(crate) deadline_ms: u64,
    pub(crate) max_body_bytes: usize,
}

#[derive(Deserialize, Debug, Clone)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BrokerDto {
    pub(crate) http_path: String,
    pub(crate) max_queued: usize,
    pub(crate) max_queued_bytes: usize,
    /// That wait for the socket of one MQTT client.
    pub(crate) max_waiting_bytes: usize,
    pub(crate) max_queued_total_bytes: usize,
    pub(crate) max_retained: usize,
    pub(crate) max_subscriptions_per_client: usize,
    pub(crate) max_between_workers: usize,
    pub(crate) max_queued_age_s: u64,
    pub(crate) max_stored_bytes: u64,
    pub(crate) durability: Durability,
    pub(crate) max_delayed: usize,
    pub(crate) max_pending_wills: usize,
    /// Deliveries of publishes for many that are due on one worker; then publishers wait.
    pub(crate) max_pending_deliveries: usize,
    pub(crate) sys_interval_s: u64,
    pub(crate) shared_subscriptions: SharedSubscriptions,
}

/// Which member of a shared subscription gets a message.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SharedSubscriptions {
    /// Turns.
    Fair,
    /// The same one until it goes.
    Sticky,
}

/// What an acknowledgement survives.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Durability {
    /// The end of the process: it was written.
    Process,
    /// The end of power: it is on the disk itself.
    Power,
}

#[derive(Deserialize, Debug, Clone)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MqttDto {
    pub(crate) max_sessions: usize,
    pub(crate) max_packet_bytes: usize,
    pub(crate) receive_maximum: u16,
    pub(crate) topic_alias_maximum: u16,
    pub(crate) max_inflight: u16,
    pub(crate) server_keep_alive_s: u16,
    pub(crate) max_session_expiry_s: u32,
    pub(crate) connect_timeout_ms: u64,
    pub(crate) max_connects_per_s: u64,
    pub(crate) redirect: Option<RedirectDto>,
    /// What response topics may begin with; `%c` stands for the client identifier.
    #[serde(default)]
    pub(crate) response_information: Option<String>,
}

/// Where clients are sent instead.
#[derive(Deserialize, Debug, Clone)]
pub(crate) struct RedirectDto {
    pub(crate) to: String,
    pub(crate) permanent: bool,
    pub(crate) always: bool,
}

#[derive(Deserialize, Debug, Clone)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CoapDto {
    pub(crate) max_block_bytes: usize,
    pub(crate) max_observers: usize,
    pub(crate) max_observers_per_client: usize,
    pub(crate) max_upstream_observations: usize,
    pub(crate) max_asleep_s: u64,
    pub(crate) max_asleep_messages: usize,
    pub(crate) max_asleep_bytes: usize,
    pub(crate) max_asleep_total_bytes: usize,
    pub(crate) dedup_entries: usize,
    pub(crate) datagrams_per_call: usize,
    pub(crate) nstart: usize,
    pub(crate) cache_entries: usize,
    pub(crate) max_sessions: usize,
    pub(crate) max_handshakes: usize,
    pub(crate) max_handshakes_per_s: u32,
    pub(crate) session_idle_ms: u64,
    pub(crate) ack_timeout_ms: u64,
    pub(crate) max_retransmit: u32,
    pub(crate) max_registrations: usize,
    pub(crate) max_registration_bytes: usize,
    pub(crate) hop_limit: u8,
    /// Whether requests with Proxy-Uri or Proxy-Scheme are routed, and what names us in them.
    pub(crate) forward_proxy: bool,
    pub(crate) own_hosts: Vec<String>,
}

#[derive(Deserialize, Debug)]
pub(crate) struct AccessDto {
    pub(crate) users: Vec<UserDto>,
    pub(crate) superusers: Vec<String>,
    pub(crate) jwt: Option<JwtDto>,
    pub(crate) http: Option<AuthServiceDto>,
    pub(crate) acl: Vec<AclRuleDto>,
}

/// Tokens as passwords.
#[derive(Deserialize, Debug, Clone, Default)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JwtDto {
    pub(crate) keys: Vec<JwtKeyDto>,
    pub(crate) issuer: Option<String>,
    pub(crate) audience: Option<String>,
    pub(crate) user_claim: String,
    pub(crate) acl_claim: String,
}

/// `secret`, `pem` or `jwks`.
#[derive(Deserialize, Debug, Clone)]
pub(crate) struct JwtKeyDto {
    pub(crate) kind: String,
    pub(crate) text: String,
}

/// A service that knows the users.
#[derive(Deserialize, Debug, Clone)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuthServiceDto {
    pub(crate) upstream: String,
    pub(crate) path: String,
    pub(crate) timeout_ms: u64,
    pub(crate) cache_s: u64,
}

impl AccessDto {
    /// The rules as the broker checks them.
    pub(crate) fn rules(&self) -> Vec<Rule> {
        let action = |name: &str| match name {
            "publish" => Action::Publish,
            "subscribe" => Action::Subscribe,
            _ => Action::All,
        };
        let rule = |dto: &AclRuleDto| Rule {
            user: dto.user.as_deref().map(Box::from),
            client_id: dto.client_id.as_deref().map(Box::from),
            action: action(&dto.action),
            topic: dto.topic.as_str().into(),
            allow: dto.allow,
        };
        self.acl.iter().map(rule).collect()
    }
}

#[derive(Deserialize, Debug)]
pub(crate) struct UserDto {
    pub(crate) name: String,
    /// argon2id, of a password that comes as it is.
    pub(crate) hash: Option<String>,
    /// What SCRAM-SHA-256 compares with.
    pub(crate) scram: Option<String>,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AclRuleDto {
    pub(crate) user: Option<String>,
    pub(crate) client_id: Option<String>,
    pub(crate) action: String,
    pub(crate) topic: String,
    pub(crate) allow: bool,
}

#[derive(Deserialize, Debug, Clone)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LimitsDto {
    pub(crate) max_connections: usize,
    pub(crate) max_connections_per_source: usize,
    pub(crate) half_open_ms: u64,
    pub(crate) header_timeout_ms: u64,
    pub(crate) idle_timeout_ms: u64,
    pub(crate) stall_timeout_ms: u64,
    pub(crate) header_line_bytes: usize,
    pub(crate) header_total_bytes: usize,
    pub(crate) header_count: usize,
    pub(crate) body_collected_bytes: usize,
    pub(crate) websocket_message_bytes: usize,
    /// 0: never.
    #[serde(default)]
    pub(crate) websocket_idle_ms: u64,
    /// 0: as long as it likes.
    #[serde(default)]
    pub(crate) websocket_lifetime_ms: u64,
    pub(crate) topic_levels: usize,
    pub(crate) max_decisions: usize,
    /// 0: never.
    #[serde(default)]
    pub(crate) shed_lag_ms: u64,
    /// 0: never.
    #[serde(default)]
    pub(crate) shed_memory_bytes: u64,
    /// 0: never.
    #[serde(default)]
    pub(crate) shed_cpu_percent: u64,
    /// 0: never.
    #[serde(default)]
    pub(crate) shed_loop_lag_ms: u64,
    /// 0: as they come.
    #[serde(default)]
    pub(crate) max_connects_per_source_per_s: usize,
    /// Of all answers that are kept.
    #[serde(default)]
    pub(crate) cache_bytes: usize,
    #[serde(default)]
    pub(crate) cache_entries: usize,
    #[serde(default)]
    pub(crate) cache_entry_bytes: usize,
    /// Copies for mirrors that are under way on one worker.
    pub(crate) mirror_copies: usize,
    /// Bytes of one copy, of all copies of a worker, that may wait for their mirror.
    pub(crate) mirror_copy_bytes: usize,
    pub(crate) mirror_total_bytes: usize,
    /// From the end of a copy until its answer, which nobody reads, must be there.
    pub(crate) mirror_timeout_ms: u64,
    pub(crate) http2_streams: u32,
    pub(crate) http2_resets_per_second: u32,
    pub(crate) http2_control_per_second: u32,
}

#[derive(Deserialize, Debug, Clone)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogDto {
    pub(crate) sample_every: u64,
    #[serde(default)]
    pub(crate) access: Option<AccessLogDto>,
}

/// What a request that is forwarded is told to its upstream.
#[derive(Deserialize, Debug, Clone, Default)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ForwardDto {
    pub(crate) via: bool,
    pub(crate) forwarded: bool,
    pub(crate) request_id: bool,
    /// Begin one where none came.
    pub(crate) traceparent: bool,
    #[serde(default)]
    pub(crate) client_certificate: CertificateForm,
}

/// How an upstream is told of a client's certificate.
#[derive(Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CertificateForm {
    #[default]
    None,
    Xfcc,
    Rfc9440,
}

impl CertificateForm {
    pub(crate) const fn header(self) -> Option<CertificateHeader> {
        match self {
            CertificateForm::None => None,
            CertificateForm::Xfcc => Some(CertificateHeader::Xfcc),
            CertificateForm::Rfc9440 => Some(CertificateHeader::Rfc9440),
        }
    }
}
