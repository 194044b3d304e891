//! A worker's thread: its runtime, its control loop, its clockwork.

use super::{
    Bounds, Buffers, Connections, Control, Goodbye, Level, Listening, Overload, Worker, WorkerClock, WorkerPlan,
};
use crate::access::AccessBuffer;
use crate::auth::Verified;
use crate::coap::{Relays, Sockets};
use crate::decide::{self, DecisionTable};
use crate::gateway::Shared;
use crate::inspect_mqtt::{self, ClientRow};
use crate::listen;
use crate::outbound::coap::CoapClients;
use crate::plan::{Durability, Plan};
use crate::pubsub::{self, Door, Hub, Inbox, Keeper, Links, Store};
use crate::recover::restore_here;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tidegate_ring::EventRing;
use tidegate_store::Log;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{AbortHandle, LocalSet};

/// How often deadlines, pools and ejections are looked at.
const TICK: Duration = Duration::from_millis(100);

/// Expired retained messages that a look forgets, of each shard.
const SWEPT: usize = 256;

/// What a worker thread starts with.
pub(crate) struct Started {
    pub(crate) id: u16,
    pub(crate) shared: Arc<Shared>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) events: Option<EventRing>,
    pub(crate) control: mpsc::Receiver<Control>,
    /// The ways to all workers, and what they send.
    pub(crate) links: Vec<Door>,
    pub(crate) inbox: Inbox,
    /// Its log, where there is a data directory.
    pub(crate) kept: Option<(Log, Arc<Store>)>,
}

/// Starts a worker's thread.
///
/// # Errors
/// The system gives no more threads.
pub(crate) fn spawn(started: Started) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name(format!("tidegate-{}", started.id)).spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().event_interval(61).build() {
            Ok(runtime) => runtime,
            Err(error) => return eprintln!("tidegate: a worker has no runtime: {error}"),
        };
        LocalSet::new().block_on(&runtime, run(started));
    })
}

/// What a listener's task is stopped by.
enum Listener {
    /// Accepts what already waits, then ends.
    Tcp(Rc<Notify>),
    Udp(AbortHandle),
}

impl Listener {
    fn stop(self) {
        match self {
            Listener::Tcp(stop) => stop.notify_one(),
            Listener::Udp(task) => task.abort(),
        }
    }
}

async fn run(started: Started) {
    let Started { id, shared, plan, events, mut control, links, inbox, kept } = started;
    let workers = links.len();
    let clock = WorkerClock::new(shared.clock.clone());
    let keeper = Keeper::new(kept);
    let links = Links::new(id, &links, Rc::clone(&keeper.kept));
    let worker = Rc::new(Worker {
        id,
        counters: Arc::clone(&shared.registry.workers[usize::from(id)]),
        buffers: Buffers::default(),
        access: AccessBuffer::default(),
        overload: Overload::default(),
        connections: Connections::new(clock.millis()),
        clock,
        plan: RefCell::new(Rc::new(WorkerPlan { plan: Arc::clone(&plan), upstreams: Vec::new(), turns: Cell::new(0) })),
        pools: RefCell::default(),
        is_draining: Cell::new(false),
        events: RefCell::new(events),
        decisions: DecisionTable::default(),
        hub: Hub::new(Arc::clone(&shared.broker), (id, workers as u16), (links, inbox, keeper)),
        verified: Verified::default(),
        api: RefCell::default(),
        observed: RefCell::default(),
        coap: Sockets::default(),
        coap_clients: CoapClients::default(),
        relays: Relays::default(),
        edits: RefCell::default(),
        random: Cell::new(fastrand::u64(1..)),
        until_sample: Cell::new(0),
        date: Cell::new((0, [0; tidegate_http::HTTP_DATE_LEN])),
        shared,
    });
    apply(&worker, plan);
    tokio::task::spawn_local(tick(Rc::clone(&worker)));
    tokio::task::spawn_local(decide::attend(Rc::clone(&worker)));
    tokio::task::spawn_local(pubsub::flush(Rc::clone(&worker)));
    tokio::task::spawn_local(pubsub::spread(Rc::clone(&worker)));
    tokio::task::spawn_local(pubsub::attend_sync(Rc::clone(&worker)));
    tokio::task::spawn_local(pubsub::serve_links(Rc::clone(&worker)));
    let mut listeners = HashMap::new();
    while let Some(message) = control.recv().await {
        if matches!(message, Control::Stop) {
            break;
        }
        handle(&worker, message, &mut listeners);
    }
    worker.flush_log();
    if let Some(sink) = &worker.plan().plan.access {
        worker.access.flush(sink);
    }
}

fn handle(worker: &Rc<Worker>, message: Control, listeners: &mut HashMap<String, Listener>) {
    match message {
        Control::Apply(plan, done) => {
            apply(worker, plan);
            let _ = done.send(());
        }
        Control::Listen(listener, Listening::Tcp(socket)) => {
            let stop = Rc::new(Notify::new());
            let accepting = listen::accept(Rc::clone(worker), Arc::clone(&listener), (socket, Rc::clone(&stop)));
            tokio::task::spawn_local(accepting);
            listeners.insert(listener.name.clone(), Listener::Tcp(stop));
        }
        Control::Listen(listener, Listening::Udp(socket)) => {
            let task = tokio::task::spawn_local(listen::receive(Rc::clone(worker), Arc::clone(&listener), socket));
            listeners.insert(listener.name.clone(), Listener::Udp(task.abort_handle()));
        }
        Control::Unlisten(name) => {
            if let Some(listener) = listeners.remove(&name) {
                listener.stop();
            }
            drain(worker, 0, |connection| *connection.trust.name == *name);
        }
        Control::Restore(dealt, done) => restore_here(worker, dealt, done),
        Control::Connections(reply) => {
            let _ = reply.send(worker.connections.rows(worker.id, worker.clock.epoch_ms()));
        }
        Control::Kick { slot, generation, done } => kick(worker, (slot, generation), done),
        Control::Drain { spread_ms } => {
            worker.is_draining.set(true);
            listeners.drain().for_each(|(_, listener)| listener.stop());
            drain(worker, spread_ms, |_| true);
        }
        Control::Policies(ring, done) => {
            worker.decisions.attach(worker, ring.map(|ring| *ring));
            let _ = done.send(());
        }
        Control::Clients(client_id, reply) => {
            let broker = worker.hub.broker.borrow();
            let found = match client_id {
                Some(client_id) => broker.client(&client_id).into_iter().collect(),
                None => broker.clients(),
            };
            let _ = reply.send(found.into_iter().map(|client| ClientRow::new(worker, client)).collect());
        }
        Control::Trace(watches, done) => {
            worker.hub.traces.set(watches);
            let _ = done.send(());
        }
        Control::KickClient(client_id, done) => {
            let now = worker.clock.millis();
            let _ = done.send(worker.with_broker(|broker, sink| broker.kick(now, &client_id, sink)));
        }
        Control::Publish(request) => inspect_mqtt::publish_here(worker, request),
        Control::Subscribe { id, filter, qos, done } => inspect_mqtt::subscribe_here(worker, (id, filter, qos), done),
        Control::Unsubscribe(id, done) => {
            inspect_mqtt::unsubscribe_here(worker, id);
            let _ = done.send(());
        }
        Control::Open(reply) => {
            let _ = reply.send(worker.connections.len() + worker.coap.under_way());
        }
        Control::Stop => {}
    }
}

fn apply(worker: &Rc<Worker>, plan: Arc<Plan>) {
    // Lines of the plan before belong to its log.
    if let Some(sink) = &worker.plan().plan.access {
        worker.access.flush(sink);
    }
    let adopted = Rc::new(WorkerPlan::adopt(worker, plan));
    worker.plan.replace(adopted);
    worker.decisions.forget_verdicts();
    worker.coap_clients.adopt(&worker.plan().plan);
    worker.verified.forget();
    let plan = worker.plan();
    worker.hub.adopt(&plan.plan);
    worker.hub.links.limit(plan.plan.broker.max_between_workers);
    worker.hub.keeper.set_power(worker.id, plan.plan.broker.durability == Durability::Power);
    worker.limit_log(plan.plan.broker.max_stored_bytes);
    WorkerPlan::prune(worker);
    // Who is no user any more has nothing to do here.
    for connection in worker.connections.all() {
        let peer = connection.peer();
        let is_known = |user: &Arc<str>| plan.plan.users.contains_key(&**user);
        let is_gone = connection.is_users.get() && !peer.user().is_some_and(is_known);
        if is_gone {
            connection.goodbye.set(Some(Goodbye::Kick));
            connection.wake();
        }
    }
}

fn kick(worker: &Worker, (slot, generation): (u32, u32), done: oneshot::Sender<bool>) {
    let connection = worker.connections.find(slot, generation);
    if let Some(connection) = &connection {
        connection.goodbye.set(Some(Goodbye::Kick));
        connection.wake();
    }
    let _ = done.send(connection.is_some());
}

/// Says goodbye to connections at random times within `spread_ms`, so that they do
/// not all come back at once.
fn drain(worker: &Rc<Worker>, spread_ms: u64, which: impl Fn(&super::Connection) -> bool) {
    for connection in worker.connections.all().into_iter().filter(|connection| which(connection)) {
        let wait = if spread_ms == 0 { 0 } else { worker.random() % spread_ms };
        tokio::task::spawn_local(async move {
            if wait > 0 {
                tokio::time::sleep(Duration::from_millis(wait)).await;
            }
            if connection.goodbye.get().is_none() {
                connection.goodbye.set(Some(Goodbye::Drain));
            }
            connection.wake();
        });
    }
}

async fn tick(worker: Rc<Worker>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let now = worker.clock.millis();
        worker.connections.turn(now);
        // What is due since before a start waits for the rules, routes and policies of the first plan.
        if worker.shared.plan.load().version > 0 {
            worker.attend_due(now);
        }
        tell_sessions(&worker);
        worker.tell_events();
        worker.attend_sys(now);
        worker.attend_log();
        if worker.id == 0 {
            worker.shared.broker.retained().sweep(now, SWEPT);
        }
        worker.attend_checkpoints(now);
        let plan = worker.plan();
        if let Some(sink) = &plan.plan.access {
            worker.access.flush(sink);
        }
        let limits = &plan.plan.limits;
        let bounds = Bounds {
            lag_ms: limits.shed_lag_ms,
            memory_bytes: limits.shed_memory_bytes,
            cpu_percent: limits.shed_cpu_percent,
        };
        if let Some(sheds) = worker.overload.turn((now, TICK.as_millis() as u64), bounds) {
            let text = if sheds { "too much to do: requests are turned away" } else { "requests are taken again" };
            worker.log(Level::Warn, text);
        }
        for (upstream, side) in plan.plan.upstreams.iter().zip(&plan.upstreams) {
            let mut idle = 0;
            for pool in &side.pools {
                pool.expire(now, upstream.idle_timeout_ms);
                idle += pool.len();
            }
            upstream.counters[usize::from(worker.id)].idle.set(idle as u64);
            if let Some(outlier) = &upstream.outlier {
                outlier.sweep(now, |endpoint, is_out| {
                    upstream.endpoints.set_ejected(endpoint, is_out);
                });
            }
        }
    }
}

/// Gauges that the broker keeps, as scrapes read them.
fn tell_sessions(worker: &Worker) {
    let broker = worker.hub.broker.borrow();
    let stats = broker.stats();
    let counters = &worker.counters;
    let (waiting, lost) = (worker.hub.undelivered.waiting.get(), worker.hub.undelivered.lost.get());
    counters.queued.set(stats.queued + waiting);
    counters.sessions_connected.set(stats.connected as u64);
    counters.sessions_disconnected.set(stats.disconnected as u64);
    counters.subscriptions.set(stats.subscriptions as u64);
    counters.delayed.set(broker.delayed() as u64);
    counters.pending_wills.set(broker.pending_wills() as u64);
    counters.pending_deliveries.set(broker.pending_deliveries() as u64);
    counters.coap_asleep.set(worker.coap.asleep() as u64);
    counters.publishes_accepted.set(stats.accepted);
    counters.publishes_refused.set(stats.refused);
    counters.matched.set(stats.matched);
    counters.delivered.set(stats.delivered.saturating_sub(waiting + lost));
}
