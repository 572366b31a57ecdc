"""Responses ↔ Chat Completions, and Messages and event streams over them, as pure functions on plain dicts.

Responses create params ── chat.to_chat ──▶ Chat body ──▶ engine
Responses object ◀── reply.to_response ── Chat completion ◀──┘

Messages request ── messages.to_params ──▶ Responses create params;  Responses object ── messages.to_message ──▶ reply
requests that stream ── streamed ──▶ those that do not;  whole answers ── sse ──▶ streams
"""
