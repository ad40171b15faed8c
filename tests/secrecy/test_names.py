"""Which names are those of secrets, and which are not."""

from __future__ import annotations

import pytest

from beatdesk.secrecy.names import is_secret

SECRET = """
    password PASSWORD db_password dbpassword userPassword password2 old-password passwd passphrase pass_phrase
    passPhrase secret clientSecret SECRET_KEY AWS_SECRET_ACCESS_KEY token tokens auth_token authToken csrftoken my.token
    access-token refresh_tokens token_value Authorization authorization Proxy-Authorization HTTP_AUTHORIZATION auth
    basic_auth auth_header jwt Bearer X-Api-Key x_api_key apiKey APIKEY APIKey XAPIKey private-key privateKey
    PRIVATE_KEY private_key_pem sshPrivateKey ssh_key accessKey access_key accesskey signing_key encryptionKey
    Ocp-Apim-Subscription-Key pwd PWD db_pwd dbpwd userPwd pass db_pass userPass cookie Cookie Set-Cookie cookies
    session_cookie sessionid session_id JSESSIONID pin PIN pins user_pin pinCode PINCode pin2 otp totp_code cvv
    credential credentials recovery_codes ｐａｓｓｗｏｒｄ
"""
PLAIN = """
    spinner spinning pinned_at pinned shipping opinion mapping typing token_count tokenCount max_tokens prompt_tokens
    total_tokens tokens_used tokenizer token_type token_expires_at expires_in token_expires_in password_policy
    password_changed_at secretary passenger compass bypass pass_rate passed author authority author_id authorized
    auth_user key keyboard primary_key routing_key idempotency_key sort_key monkey keyword cookie_count code
    status_code zip_code session user name path note email pi n
"""


@pytest.mark.parametrize("name", SECRET.split())
def test_name_of_a_secret(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", PLAIN.split())
def test_name_of_no_secret(name: str) -> None:
    assert not is_secret(name)
