//! The control channel: gRPC to sidecars, over TLS 1.3. Only the leader serves it.
//!
//! A caller is who its token says, checked with the API server, and nothing that it says itself.

mod documents;
mod identity;
mod lease;
mod limit;
mod record;

use std::{pin::Pin, sync::Arc};

use ::channel::{
    MESSAGE_LIMIT,
    v1::{
        LeaseRequest, LeaseResponse, RecordRequest, RecordResponse, WatchRequest, WatchResponse,
        channel_server::{Channel, ChannelServer},
    },
};
use axum::Router;
use futures_util::Stream;
use kube::Client;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, service::Routes};

use crate::{collector::Collector, distribute::Distributor, leases::Leases, metrics::Metrics};
use identity::Identities;

/// What the channel serves from.
#[derive(Debug)]
pub struct Sources {
    /// Documents.
    pub distributor: Distributor,
    /// Credentials.
    pub leases: Leases,
    /// Where records go.
    pub collector: Collector,
    /// The operator's root certificates, PEM.
    pub roots: watch::Receiver<Arc<str>>,
}

/// The channel of one term of leadership.
#[derive(Debug)]
pub struct Service {
    identities: Identities,
    sources: Sources,
    metrics: Metrics,
    ended: CancellationToken,
}

impl Service {
    /// A channel that ends with `ended`.
    #[must_use]
    pub fn new(client: Client, sources: Sources, metrics: Metrics, ended: CancellationToken) -> Self {
        Self { identities: Identities::new(client, metrics.clone()), sources, metrics, ended }
    }

    /// As a router, for a listener of ours.
    #[must_use = "a router does nothing until it is served"]
    pub fn into_router(self) -> Router {
        let server = ChannelServer::new(self)
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(MESSAGE_LIMIT);
        Routes::new(server).into_axum_router()
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Channel for Service {
    type WatchStream = Answers<WatchResponse>;
    type LeaseStream = Answers<LeaseResponse>;
    type RecordStream = Answers<RecordResponse>;

    async fn watch(
        &self,
        request: Request<Streaming<WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let caller = self.identities.of(request.metadata(), request.extensions()).await?;
        let stream =
            documents::serve(&self.sources, caller, request.into_inner(), &self.metrics, &self.ended);
        Ok(Response::new(Box::pin(stream)))
    }

    async fn lease(&self, request: Request<LeaseRequest>) -> Result<Response<Self::LeaseStream>, Status> {
        let caller = self.identities.of(request.metadata(), request.extensions()).await?;
        let connection = request.into_inner().connection;
        let stream = lease::serve(&self.sources, &caller, connection, &self.metrics, &self.ended)?;
        Ok(Response::new(Box::pin(stream)))
    }

    async fn record(
        &self,
        request: Request<Streaming<RecordRequest>>,
    ) -> Result<Response<Self::RecordStream>, Status> {
        let caller = self.identities.of(request.metadata(), request.extensions()).await?;
        let stream = record::serve(&self.sources, caller, request.into_inner(), &self.metrics, &self.ended)?;
        Ok(Response::new(Box::pin(stream)))
    }
}
