"""Responses ↔ Chat Completions, as pure functions on plain dicts.

Responses create params ── chat.to_chat ──▶ Chat body ──▶ engine
Responses object ◀── reply.to_response ── Chat completion ◀──┘
"""
