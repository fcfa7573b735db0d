//! Why something was refused or ended: every reason is a value here and has a counter.

macro_rules! reasons {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident => $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// Every reason, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Name in metrics and logs.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

reasons! {
    /// Why a message, a registration or a connection was refused.
    ///
    /// A refused message is gone for its sender, who is told nothing
    /// (`protocol/01-transport.md` 3.6); the connection it came on stays.
    Refusal {
        /// The first onward address is not local (`protocol/01-transport.md` 3.7).
        NotLocal => "not_local",
        /// No worker has the address.
        UnknownAddress => "unknown_address",
        /// Another worker of this node has the name already.
        NameInUse => "name_in_use",
        /// Flow control does not let this source reach the address (`protocol/02-routing.md` 6.2).
        NotPermitted => "not_permitted",
        /// The worker could not decode the payload.
        BadPayload => "bad_payload",
        /// The routes would have more hops than allowed.
        RouteTooLong => "route_too_long",
        /// A message would be longer than a frame, or its routes longer than allowed.
        MessageTooLong => "message_too_long",
        /// The message passed through too many layers inside the node.
        TooManyLayers => "too_many_layers",
        /// A message for a worker carries onward hops the worker does not serve.
        UnexpectedHops => "unexpected_hops",
        /// The peer's identity is not on the list of allowed ones.
        IdentityNotAllowed => "identity_not_allowed",
        /// A stream message came from another identity than the stream belongs to.
        IdentityMismatch => "identity_mismatch",
        /// The worker serves authenticated peers only.
        NotAuthenticated => "not_authenticated",
        /// A handshake message was malformed or failed verification.
        HandshakeFailed => "handshake_failed",
        /// A handshake was not completed in time.
        HandshakeTimeout => "handshake_timeout",
        /// Too many handshakes are under way.
        TooManyHandshakes => "too_many_handshakes",
        /// A channel message was decrypted already, or its nonce is outside the window.
        ChannelReplay => "channel_replay",
        /// A channel message did not verify.
        ChannelForged => "channel_forged",
        /// A channel message verified but those before it are missing.
        ChannelOrder => "channel_order",
        /// A channel message verified but its content is not understood.
        ChannelContent => "channel_content",
        /// A channel is not up, or gone.
        ChannelDown => "channel_down",
        /// A relay name is malformed.
        RelayName => "relay_name",
        /// A relay name belongs to somebody else.
        RelayNameTaken => "relay_name_taken",
        /// Registration without a secure channel is switched off.
        PlainRegistration => "plain_registration",
        /// Too many forwarders.
        TooManyForwarders => "too_many_forwarders",
        /// Too many links.
        TooManyLinks => "too_many_links",
        /// Too many streams.
        TooManyStreams => "too_many_streams",
        /// Too many local addresses are in use.
        TooManyAddresses => "too_many_addresses",
        /// The table of permissions of a producer is full.
        TooManyPermissions => "too_many_permissions",
        /// The service behind an outlet refused the connection or did not answer.
        TargetRefused => "target_refused",
        /// A portal message does not fit the state of its stream.
        PortalState => "portal_state",
        /// No channel to the far side was up when a client connected.
        NoRoute => "no_route",
        /// A connection was gone before it could be used.
        ConnectionLost => "connection_lost",
        /// A datagram is malformed, or does not fit those of the same message.
        UdpDatagram => "udp_datagram",
        /// A datagram came twice, or after its message was over.
        UdpLate => "udp_late",
        /// No room is left for parts of messages, or for messages to be sent over UDP.
        UdpFull => "udp_full",
        /// What came over UDP is no message.
        UdpMessage => "udp_message",
        /// A message could not be sent over UDP.
        UdpUnsendable => "udp_unsendable",
        /// A message does not belong to the direct path it came along, or comes at the wrong time.
        Puncture => "puncture",
        /// A direct path is not open.
        PathNotOpen => "path_not_open",
        /// A peer proposed too many direct paths, or all peers did.
        TooManyPaths => "too_many_paths",
        /// A UDP address is missing in a route.
        NotUdp => "not_udp",
        /// A credential was shown that is none, or whose content is not understood.
        CredentialMalformed => "credential_malformed",
        /// The issuer of a credential is no accepted authority, or its key is not attested.
        CredentialIssuer => "credential_issuer",
        /// The key that signed a credential is for something else.
        CredentialPurpose => "credential_purpose",
        /// The signature of a credential is wrong.
        CredentialForged => "credential_forged",
        /// A credential is about somebody else than who showed it.
        CredentialSubject => "credential_subject",
        /// A credential is not valid yet.
        CredentialEarly => "credential_early",
        /// A credential has expired.
        CredentialExpired => "credential_expired",
        /// A request to an authority makes no sense.
        AuthorityRequest => "authority_request",
        /// More requests wait for an authority than may.
        AuthorityBusy => "authority_busy",
        /// An authority has as many members or tickets as it may have.
        AuthorityFull => "authority_full",
        /// An authority cannot use its database or its keys.
        AuthorityFailed => "authority_failed",
        /// Somebody who is no member asks an authority for a credential.
        NotMember => "not_member",
        /// Only enrollers may ask an authority for this.
        NotEnroller => "not_enroller",
        /// Only admins may ask an authority for this.
        NotAdmin => "not_admin",
        /// An authority is asked about a member that it does not have.
        NoSuchMember => "no_such_member",
        /// Attributes that no member may have.
        MemberAttributes => "member_attributes",
        /// A ticket was shown by who is a member already.
        AlreadyMember => "already_member",
        /// A ticket was shown that was never issued.
        TicketUnknown => "ticket_unknown",
        /// A ticket was shown after its time.
        TicketExpired => "ticket_expired",
        /// A ticket was shown that was used as often as it may be.
        TicketUsed => "ticket_used",
        /// A ticket was shown that was taken back.
        TicketRevoked => "ticket_revoked",
        /// A policy denies it.
        PolicyDenied => "policy_denied",
        /// A host asks the rendezvous service too often.
        AskedTooOften => "asked_too_often",
    }
}

reasons! {
    /// Why a link, a channel or a stream ended.
    CloseReason {
        /// The peer closed it in an orderly way.
        PeerClosed => "peer_closed",
        /// Reading or writing failed.
        Io => "io",
        /// The peer's first byte is not a version this node speaks.
        BadVersion => "bad_version",
        /// A frame of length 0.
        EmptyFrame => "empty_frame",
        /// A frame longer than the limit.
        FrameTooLong => "frame_too_long",
        /// A frame that is not a message.
        BadMessage => "bad_message",
        /// A frame was not completed in time.
        FrameTimeout => "frame_timeout",
        /// The peer did not read for too long.
        Stalled => "stalled",
        /// It held the most when memory was used up.
        MemoryLimit => "memory_limit",
        /// A message could not be forwarded without loss.
        WouldLose => "would_lose",
        /// What it depends on ended.
        CarrierLost => "carrier_lost",
        /// Messages were lost or held back on the way.
        MessagesLost => "messages_lost",
        /// The peer did not answer for too long.
        PeerSilent => "peer_silent",
        /// The far side of a stream did not answer the opening message.
        PongTimeout => "pong_timeout",
        /// The peer broke the portal protocol.
        PortalProtocol => "portal_protocol",
        /// The far side of a stream reset it.
        PeerReset => "peer_reset",
        /// A newer registration or connection took its place.
        Replaced => "replaced",
        /// It moved to another shard.
        Moved => "moved",
        /// A policy does not allow it, or not any more.
        Denied => "denied",
        /// The node closed it.
        Local => "local",
        /// The node is shutting down.
        Shutdown => "shutdown",
    }
}
