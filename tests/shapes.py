"""Placeholders for keys, and keys of every usual shape."""

from __future__ import annotations

# From the pages of local servers, and from what people write into `OPENAI_API_KEY` for them.
PLACEHOLDERS = """
none None NONE null nil test TEST testing local ollama Ollama dummy DUMMY EMPTY empty x xx xxx X
XXXXXXXX sk-no-key-required token-abc123 password123 lm-studio not-needed not_needed notneeded
NOT-REQUIRED no-key no_key_needed sk-local sk-dummy sk-fake sk-test sk-xxx sk-xxxxxxxxxxxxxxxxxxxx
sk-1234 sk-12345678 sk-1234567890abcdef sk-abcdef1234567890 sk-0000000000000000 sk-placeholder
sk-not-needed-for-local sk-your-key-here your-api-key-here YOUR_API_KEY YOUR_API_KEY_HERE <your-key>
<YOUR_API_KEY> ${OPENAI_API_KEY} $TOGETHER_API_KEY {{api_key}} insert-your-key-here REPLACE_ME
changeme change-me-please CHANGE_THIS api-key apikey API_KEY my-api-key MyApiKey my-secret-key
secret secret123 supersecret password Password1 p4ss1234x hunter2 admin admin123 foobar foo-bar-baz
123 1234 12345678 1234567890 0 00000000 000-000-000 99999999 abc123 abcdefgh abcdefghijklmnop
qwerty qwertyuiop asdf asdfghjkl ******** ... - -------- n/a N/A undefined true false whatever
anything something unused ignored default default-key placeholder vllm vllm-local llama.cpp
llama-cpp llamafile litellm localai text-generation-webui tgi openai local-llm localhost
localhost:1234 127.0.0.1 127.0.0.1:8080 key key1 key-1 key_0001 token token123 bearer guest
doesnt-matter does-not-matter this-is-not-needed no-api-key-required-here test-key-123 demo-key
example-key sk-example ollama-local-key EXAMPLE_TOKEN 2024-01-31 +1-555-0100 created_at customer_id
administrator internet JavaScript HTTPServer getElementById
""".split()  # noqa: SIM905  # as a list it would fill a page
PLACEHOLDERS.remove("p4ss1234x")  # this one nobody could guess

SECRETS = {
    "OpenAI": "sk-Jq8Wn3Rt6Yb1Kc9Xv4Jm7Lp2Hd5Gf0QsTzUa1Be4Cn7Do0Fp3",
    "OpenAI, project": "sk-proj-9x_Lq2T8vZr4Wm1Kc7Nb3Yd6Hs5Jf0Gp-AaEeUuOoIi",
    "OpenRouter": "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",
    "Anthropic": "sk-ant-api03-Zk3mQ9xW2rT7uY5pL8sD1fG4hJ6kN0bV3cX5zA7qE9w-AA",
    "Together AI": "tgp_v1_Zk3mQ9xW2rT7uY5pL8sD1fG4hJ6kN0bV3cX5zA7qE9w",
    "Together AI, old": "5f3a9c1e7b2d4860fa1c3e5b7d9f02468ace13579bdf0246813579bdfeca8642",
    "Fireworks": "fw_3ZkmQ9xW2rT7uY5pL8sD1fG4",
    "Groq": "gsk_8fK2mQ9xW2rT7uY5pL8sWGdyb3FYkz0Nq4Vr6Tb1Xc3J",
    "Google": "AIzaSyD4kQ8nV2xR7tB1mW5zL9pC3fH6jG0sAeY",
    "Hugging Face": "hf_ZkmQwxWrTtuYypLsDdfGghJjkNnbVvcX",
    "GitHub": "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "AWS": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzQ8nV2xR7t",
    "32 hexadecimal digits": "9f86d081884c7d659a2feaa0c55ad015",
    "upper case": "9F86D081884C7D659A2FEAA0C55AD015",
    "UUID": "3f2b8c1e-7d94-4a6b-b0e5-91c2d8f7a364",
    "JWT": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI5MTcyNTM4NDYwIn0.Tk9xZ2h3bV8yYTdRc1Z4",
    "letters": "qhfkzmbtwrcydjlp",
    "capitals and small letters": "xKqZpWvBnMtR",
    "digits": "904817263554",
    "short": "hb3dkfg9",
    "signs": "p@$$w0rd!",
    "passphrase": "correct-horse-battery-staple",
    "mostly words": "canary-key-4711x",
}
